//! The Lease of the ledger's page before the real API server.

use isthmus::cluster::{PageLease, Swapped, as_pod};
use isthmus::ledger::Expected;
use serde_json::json;

use crate::support::guarded::{CRDS, clear};
use crate::support::plane::{ADMIN, exclusive};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases";

#[test]
fn a_page_is_swapped_only_where_it_is_as_expected() {
    let (plane, _turn) = exclusive();
    clear(plane, CRDS);
    let mut api = plane.admin();
    let path = format!("{LEASES}/isthmus-page");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = runtime.block_on(as_pod(Some(&plane.kubeconfig("admin", ADMIN)), None)).unwrap();
    let _entered = runtime.enter();
    let client = kube::Client::try_from(config).unwrap();
    let lease = PageLease::new(client, "isthmus", "isthmus-page");
    let read = || runtime.block_on(lease.read()).unwrap();
    let swap = |uid: &str, state: Result<u128, &str>, nonce, page: &str| {
        let expected = Expected { uid: uid.into(), state: state.map_err(Into::into) };
        runtime.block_on(lease.swap(&expected, nonce, page))
    };
    let is_lost = |swapped| matches!(swapped, Swapped::Lost(_));
    let made = |swapped| match swapped {
        Swapped::Committed(version) => version,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(), None);
    assert!(matches!(swap("x", Ok(1), 2, "a"), Swapped::Refused(_)), "nothing is created");

    let empty = json!({"metadata": {"name": "isthmus-page"}});
    assert_eq!(api.create(LEASES, &empty).status, 201);
    let first = read().unwrap();
    assert_eq!(first.page, None);
    assert!(is_lost(swap(&first.uid, Ok(1), 2, "a")), "there is no nonce to be tested");
    assert!(is_lost(swap(&first.uid, Err("1"), 1, "a")));
    assert!(is_lost(swap("another", Err(&first.version), 1, "a")));
    made(swap(&first.uid, Err(&first.version), 1, "a"));
    assert!(is_lost(swap(&first.uid, Err(&first.version), 2, "b")));
    assert!(is_lost(swap(&first.uid, Ok(7), 2, "b")));
    assert!(is_lost(swap("another", Ok(1), 2, "b")));
    let version = made(swap(&first.uid, Ok(1), 2, "a text\nof \"lines\""));
    let second = read().unwrap();
    assert_eq!(version, second.version);
    assert_eq!(second.page, Some((2, "a text\nof \"lines\"".to_owned())));

    let nonce = json!({"metadata": {"annotations": {"isthmus.dev/page-nonce": null}}});
    api.merge(&path, &nonce);
    let spoilt = read().unwrap();
    assert_eq!(spoilt.page, None, "a page without a nonce is none");
    assert!(is_lost(swap(&first.uid, Ok(2), 3, "c")));
    made(swap(&spoilt.uid, Err(&spoilt.version), 3, "c"));
    assert_eq!(read().unwrap().page, Some((3, "c".to_owned())));
}
