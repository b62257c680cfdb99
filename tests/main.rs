//! The one integration-test binary of the root package.

mod bench;
mod crash;
mod full;
mod http;
mod import;
mod memory;
mod resp;
mod support;
mod syscalls;
mod tools;
