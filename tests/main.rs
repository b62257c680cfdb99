//! The one integration-test binary of the root package.

mod crash;
mod http;
mod syscalls;
