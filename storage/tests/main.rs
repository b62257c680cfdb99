//! Integration tests of the engine on the simulated disk.

mod basics;
mod crash;
mod lab;
