//! The one integration-test binary of the root package.

mod crash;
mod full;
mod http;
mod support;
mod syscalls;
mod tools;
