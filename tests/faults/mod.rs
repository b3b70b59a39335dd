//! What happens to clusters once in a while, and takes minutes: `make faults` runs these.

mod clocks;
mod races;
mod restore;
mod rotations;
