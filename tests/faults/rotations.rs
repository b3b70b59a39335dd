//! A hundred rotations of the certificate.

use crate::control_plane::authority::no_call_fails_in;

#[test]
#[ignore = "takes minutes: `make faults`"]
fn in_a_hundred_rotations_no_call_fails() {
    let replicas = no_call_fails_in(100, 2);
    assert!(replicas.logged("is no longer trusted") > 10, "those of the past go");
}
