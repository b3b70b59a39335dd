//! `isthmus serve`, as its callers and its operators see it.

mod callers;
mod certificates;
mod hostile;
mod inventory;
mod lifecycle;
mod neighbours;
mod observed;
mod page;
mod paths;
mod protocol;
mod recorded;
mod sinks;
mod slow;
