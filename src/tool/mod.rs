//! What is not the server: tools that look at its data, or at a server from outside, or fill one.

pub mod bench;
pub mod crash_explore;
pub mod crash_test;
pub mod import;
pub mod offline;
pub mod svg;
