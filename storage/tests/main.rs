//! Integration tests of the engine on the simulated disk.

mod basics;
mod compression;
mod crash;
mod decision_table;
mod eviction;
mod faults;
mod found;
mod golden;
mod lab;
mod offline;
mod promises;
mod told;
