//! Replicas that share a ledger, as writers see them.

use crate::support::racing::Ring;

#[test]
fn of_three_writes_that_clash_through_three_replicas_one_is_stored() {
    let ring = Ring::start(3, &[]);
    ring.races(0, 12);
}
