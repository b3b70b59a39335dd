//! The Lease in which the replicas keep the page that they share: its text and its nonce are
//! annotations. Backups leave Leases alone, and so do most policies.

use std::time::Duration;

use json_patch::Patch as JsonPatch;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value as Json, json};

use super::call::{Failure, within};
use crate::ledger::Expected;

/// The annotation with the page, and the one with its nonce.
const PAGE: &str = "isthmus.dev/page";
const NONCE: &str = "isthmus.dev/page-nonce";
/// How long one call may take: what waits for it has five seconds in all.
const CALL: Duration = Duration::from_secs(2);

/// The Lease of the page.
pub struct PageLease {
    leases: Api<Lease>,
    name: String,
}

/// The Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its uid.
    pub uid: Box<str>,
    /// Its `resourceVersion`.
    pub version: Box<str>,
    /// The nonce and the text of the page, if both are there.
    pub page: Option<(u128, String)>,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It was made, and the Lease has this version now.
    Committed(Box<str>),
    /// It was not made, most likely because something else is there than was expected.
    Lost(String),
    /// It was not made for another reason, as when the right to is missing.
    Refused(String),
    /// Nobody knows: it may have been made, or will be.
    Unknown,
}

impl PageLease {
    /// That of a namespace and a name.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// Reads it; nothing if there is no such Lease.
    pub async fn read(&self) -> Result<Option<Written>, String> {
        let found = within(CALL, self.leases.get_opt(&self.name)).await;
        found.map(|found| found.map(Written::of)).map_err(|why| why.to_string())
    }

    /// Creates it, without a page, unless somebody else has just done so.
    pub async fn create(&self) -> Result<Written, String> {
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.name.clone());
        match within(CALL, self.leases.create(&PostParams::default(), &lease)).await {
            Ok(lease) => Ok(Written::of(lease)),
            Err(Failure::Status(status)) if status.code == 409 => {
                self.read().await?.ok_or(status.message)
            }
            Err(why) => Err(why.to_string()),
        }
    }

    /// Writes a page with its nonce, if what is expected is there.
    pub async fn swap(&self, expected: &Expected, nonce: u128, page: &str) -> Swapped {
        let next = hex(nonce);
        let patch = match &expected.state {
            Ok(nonce) => {
                let at = |name: &str| format!("/metadata/annotations/{}", name.replace('/', "~1"));
                let patch = serde_json::from_value::<JsonPatch>(json!([
                    {"op": "test", "path": "/metadata/uid", "value": expected.uid},
                    {"op": "test", "path": at(NONCE), "value": hex(*nonce)},
                    {"op": "replace", "path": at(NONCE), "value": next},
                    {"op": "add", "path": at(PAGE), "value": page},
                ]));
                match patch {
                    Ok(patch) => Patch::Json(patch),
                    Err(error) => return Swapped::Refused(error.to_string()),
                }
            }
            // There may be no annotation yet, and so nothing that could be tested.
            Err(version) => Patch::<Json>::Merge(json!({"metadata": {
                "uid": expected.uid,
                "resourceVersion": version,
                "annotations": {NONCE: next, PAGE: page},
            }})),
        };
        let params = PatchParams::default();
        match within(CALL, self.leases.patch(&self.name, &params, &patch)).await {
            Ok(lease) => {
                Swapped::Committed(lease.metadata.resource_version.unwrap_or_default().into())
            }
            Err(Failure::Status(status)) => match status.code {
                409 | 422 => Swapped::Lost(status.message),
                400..500 => Swapped::Refused(status.message),
                _ => Swapped::Unknown,
            },
            Err(Failure::Other(_)) => Swapped::Unknown,
        }
    }
}

impl Written {
    fn of(Lease { metadata, .. }: Lease) -> Self {
        let mut annotations = metadata.annotations.unwrap_or_default();
        let nonce = annotations.remove(NONCE);
        let nonce = nonce.and_then(|nonce| u128::from_str_radix(&nonce, 16).ok());
        Self {
            uid: metadata.uid.unwrap_or_default().into(),
            version: metadata.resource_version.unwrap_or_default().into(),
            page: nonce.zip(annotations.remove(PAGE)),
        }
    }
}

/// As a JSON patch tests it: in one form only.
fn hex(nonce: u128) -> String {
    format!("{nonce:032x}")
}
