//! Replicas that share a ledger, as writers see them.

use crate::support::racing::Ring;

#[test]
fn of_writes_that_clash_at_the_same_moment_one_is_stored() {
    let ring = Ring::start(3, &[]);
    ring.races(24, 8);
}
