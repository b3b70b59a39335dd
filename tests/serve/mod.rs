//! `isthmus serve`, as its callers and its operators see it.

mod callers;
mod certificates;
mod hostile;
mod inventory;
mod lifecycle;
mod neighbours;
mod observed;
mod paths;
mod protocol;
mod reach;
mod recorded;
mod sinks;
mod slow;
