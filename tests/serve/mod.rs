//! `isthmus serve`, as its callers and its operators see it.

mod callers;
mod certificates;
mod figures;
mod hostile;
mod inventory;
mod lifecycle;
mod observed;
mod sinks;
mod protocol;
mod recorded;
mod slow;
