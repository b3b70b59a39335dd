//! The page as a text, which is read again as it was written.
//!
//! It is bound to the object that it is in, and to itself: what somebody has edited, or copied from
//! another object, is no page. It holds claims, and so no credentials.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::page::{Entry, Page};
use crate::mesh::{Basis, Claim, Fact, MemberName, ObjectRef, Place, Reading, WriteId};
use crate::syntax::Path;

/// The most bytes of what one entry says. What is larger may be anything.
const MOST_OF_ENTRY: usize = 16 << 10;
/// How many bytes an entry takes beside that and its names, more or less.
const OTHER: usize = 128;

/// The page but for its entries.
#[derive(Serialize, Deserialize)]
struct Sheet {
    /// The uid of the object.
    of: Box<str>,
    nonce: u128,
    generation: u64,
    era: u128,
    is_proven: bool,
    digest: Arc<str>,
    next_stamp: u64,
    floors: BTreeMap<Arc<str>, u64>,
    entries: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    stamp: u64,
    kind: String,
    namespace: Option<Box<str>>,
    name: Arc<str>,
    id: WriteId,
    watches: Vec<Arc<str>>,
    user: Arc<str>,
    #[serde(default)]
    says: Option<Box<RawValue>>,
}

/// What an object says of members.
type Says = Vec<(MemberName, Vec<(Fact, Basis, Path)>)>;

/// What an object says as it is written into an entry, and how many bytes that takes: nothing where it
/// is too much for a page.
pub fn written(reading: &Reading) -> Option<usize> {
    let length = says(reading)?.get().len();
    (length <= MOST_OF_ENTRY).then_some(length)
}

/// How many bytes an entry takes that says so much.
pub fn bytes_of(object: &ObjectRef, watches: &[Arc<str>], user: &str, says: usize) -> usize {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let named = object.kind.len() + namespace.len() + object.name.len();
    let watches: usize = watches.iter().map(|watch| watch.len()).sum();
    OTHER + named + watches + user.len() + says
}

impl Page<Arc<Reading>> {
    /// The text in an object of this uid.
    pub fn to_text(&self, uid: &str) -> String {
        let row = |entry: &Entry<Arc<Reading>>| Row {
            stamp: entry.stamp,
            kind: entry.object.kind.to_string(),
            namespace: entry.object.namespace.clone(),
            name: Arc::clone(&entry.object.name),
            id: entry.id.clone(),
            watches: entry.watches.clone(),
            user: Arc::clone(&entry.user),
            says: entry.reading.as_deref().and_then(says),
        };
        let sheet = Sheet {
            of: uid.into(),
            nonce: self.nonce,
            generation: self.generation,
            era: self.era,
            is_proven: self.is_proven,
            digest: Arc::clone(&self.digest),
            next_stamp: self.next_stamp,
            floors: self.floors.clone(),
            entries: self.entries.iter().map(row).collect(),
        };
        // Nothing in it can fail to be written.
        let text = serde_json::to_string(&sheet).unwrap_or_default();
        format!("{:016x} {text}", checksum(&text))
    }

    /// The page that a text holds, in an object of this uid; nothing where that is none. An entry
    /// that cannot be read may say anything.
    pub fn of_text(text: &str, uid: &str) -> Option<Self> {
        let (sum, text) = text.split_once(' ')?;
        let sheet: Sheet = serde_json::from_str(text).ok()?;
        if u64::from_str_radix(sum, 16) != Ok(checksum(text)) || *sheet.of != *uid {
            return None;
        }
        let entry = |row: Row| {
            let (kind, namespace) = (row.kind, row.namespace.as_deref());
            let object = Arc::new(ObjectRef::new(kind, namespace, row.name));
            let (stamp, id, watches, user) = (row.stamp, row.id, row.watches, row.user);
            let says = row.says.as_ref().map_or(0, |says| says.get().len());
            let bytes = bytes_of(&object, &watches, &user, says);
            let reading = row.says.and_then(|says| reading(&object, &says));
            Entry { stamp, object, id, watches, user, reading, bytes }
        };
        Some(Self {
            nonce: sheet.nonce,
            generation: sheet.generation,
            era: sheet.era,
            is_proven: sheet.is_proven,
            digest: sheet.digest,
            next_stamp: sheet.next_stamp,
            floors: sheet.floors,
            entries: sheet.entries.into_iter().map(entry).collect(),
        })
    }
}

fn says(reading: &Reading) -> Option<Box<RawValue>> {
    let claims = |claims: &[Claim]| -> Vec<_> {
        let claim =
            |Claim { fact, place }: &Claim| (fact.clone(), place.basis, place.path().clone());
        claims.iter().map(claim).collect()
    };
    let statements = reading.statements.iter();
    let says: Says = statements.map(|(name, it)| (Arc::clone(name), claims(it))).collect();
    to_raw_value(&says).ok()
}

fn reading(object: &Arc<ObjectRef>, says: &RawValue) -> Option<Arc<Reading>> {
    let says: Says = serde_json::from_str(says.get()).ok()?;
    let mut reading = Reading::of(Arc::clone(object));
    let claim = |(fact, basis, path)| {
        let place = Place::new(Arc::clone(object), Path::clone(&path)).on(basis);
        Claim { fact, place }
    };
    let statements = says.into_iter();
    reading.statements =
        statements.map(|(name, claims)| (name, claims.into_iter().map(claim).collect())).collect();
    Some(Arc::new(reading.pending()))
}

/// What tells that a text is as it was written. It keeps nobody from writing another one.
pub fn checksum(text: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}
