//! A disk and clocks that exist only in memory, for tests that must decide what fails and when.
//!
//! [`disk::SimDisk`] is a file system that records every operation; [`crash::Crasher`] builds from
//! that record every image that a real disk may legally hold after a power cut ([`crash`] states
//! the model); [`choice::Choice`] names one image, in print, so that it can be built again;
//! [`faults::Fault`] makes calls fail; [`clock::SimClock`] stands still until it is moved.
//!
//! A run is replayed from three things: the seed of the workload, the number of operations before
//! the cut, and the choice.
//!
//! Compiled only for tests and with the feature `sim`. Nothing here draws randomness from outside
//! or reads a clock.

pub mod around;
pub mod choice;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod faults;
mod file;
pub mod no_log;
mod op;
mod state;
pub mod units;

#[cfg(test)]
mod tests;
