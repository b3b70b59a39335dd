//! `isthmus serve`, as its callers and its operators see it.

mod callers;
mod certificates;
mod hostile;
mod inventory;
mod lifecycle;
mod observed;
mod protocol;
mod recorded;
mod slow;
