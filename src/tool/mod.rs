//! What is not the server: tools that look at one from outside.

pub mod crash_test;
