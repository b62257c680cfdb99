//! What is not the server: tools that look at its data, or at a server from outside.

pub mod bench;
pub mod crash_explore;
pub mod crash_test;
pub mod offline;
pub mod svg;
