//! The ledger's page is read as it was written, and nothing else is taken for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use isthmus::ledger::{Entry, Page, bytes_of, written};
use isthmus::mesh::{Claim, ObjectRef, Origin, Reading, WriteId};
use isthmus::settings::Settings;
use proptest::prelude::*;

use super::{document, reading};
use crate::golden;

const UID: &str = "0b7d9bd2-0f2b-4b47-9a2c-6a2d6f4f6a11";

/// A page with an entry for each reading.
fn page(readings: &[Reading], nonce: u128) -> Page<Arc<Reading>> {
    let entry = |(at, reading): (usize, &Reading)| {
        let object = ObjectRef { origin: Origin::Here, ..ObjectRef::clone(&reading.object) };
        let (user, watches) = (Arc::from("jane"), vec![Arc::from("one"), Arc::from("other")]);
        let says = written(reading);
        let bytes = bytes_of(&object, &watches, &user, says.unwrap_or_default());
        let id = match at % 3 {
            0 => WriteId::Create(format!("uid-{at}").into()),
            1 => WriteId::Update(Some(at as u64)),
            _ => WriteId::Update(None),
        };
        let reading = says.map(|_| Arc::new(reading.clone().pending()));
        let stamp = at as u64;
        Entry { stamp, object: Arc::new(object), id, watches, user, reading, bytes }
    };
    let floors = [(Arc::from("one"), 7), (Arc::from("other"), u64::MAX)].into();
    let mut page = Page { floors, ..Page::new(nonce, &"a digest".into()) };
    page.entries = readings.iter().enumerate().map(entry).collect();
    (page.generation, page.next_stamp, page.is_proven) = (3, 99, nonce.is_multiple_of(2));
    page
}

/// What two pages may differ in though they are equal: where in a text a path leads, and how its value
/// came about.
fn paths(page: &Page<Arc<Reading>>) -> Vec<String> {
    let readings = page.entries.iter().filter_map(|entry| entry.reading.as_ref());
    let claims = readings.flat_map(|reading| reading.claims());
    let path = |claim: &Claim| {
        let path = claim.place.path();
        format!("{path} {:?} {} {:?}", path.position(), path.is_default(), path.source())
    };
    claims.map(path).collect()
}

#[test]
fn what_any_object_says_is_read_as_it_was_written() {
    let readings = golden::readings();
    let mut facts = BTreeSet::new();
    for readings in readings.chunks(16) {
        let page = page(readings, u128::MAX);
        let read = Page::of_text(&page.to_text(UID), UID).unwrap();
        assert_eq!(read, page);
        assert_eq!(paths(&read), paths(&page));
        for claim in
            page.entries.iter().filter_map(|it| it.reading.as_ref()).flat_map(|it| it.claims())
        {
            let fact = format!("{:?}", claim.fact);
            let end = fact.find(|c: char| !c.is_alphanumeric()).unwrap_or(fact.len());
            facts.insert(fact[..end].to_owned());
        }
    }
    assert!(readings.len() > 1000 && facts.len() >= KINDS, "{} {facts:?}", readings.len());
}

/// How many kinds of facts the cases have; none may be lost.
const KINDS: usize = 28;

proptest! {
    #[test]
    fn a_page_is_read_as_it_was_written(
        documents in prop::collection::vec(document(), 0..6),
        nonce in any::<u128>(),
    ) {
        let settings = Settings::default();
        let readings: Vec<_> = documents.iter().map(|it| reading(it, &settings)).collect();
        let page = page(&readings, nonce);
        let text = page.to_text(UID);
        let read = Page::of_text(&text, UID).unwrap();
        prop_assert_eq!(paths(&read), paths(&page));
        prop_assert_eq!(&read, &page);
        prop_assert_eq!(Page::<Arc<Reading>>::of_text(&text, "another"), None, "it is a copy");
        let bytes: usize = page.entries.iter().map(|entry| entry.bytes).sum();
        prop_assert!(text.len() <= bytes + 1024, "{} of {bytes} bytes", text.len());
    }

    #[test]
    fn a_page_that_was_edited_is_none(
        document in document(),
        at in any::<prop::sample::Index>(),
        byte in 0x20_u8..0x7f,
    ) {
        let page = page(&[reading(&document, &Settings::default())], 5);
        let text = page.to_text(UID);
        prop_assume!(text.is_ascii());
        let at = at.index(text.len());
        let mut edited = text.clone().into_bytes();
        edited[at] = byte;
        let edited = String::from_utf8(edited).unwrap();
        // The digits of the checksum may be written in capitals.
        let is_same = edited.to_lowercase() == text.to_lowercase();
        let read = Page::<Arc<Reading>>::of_text(&edited, UID);
        prop_assert!(read.is_none() || is_same, "{edited}");
        prop_assert_eq!(Page::<Arc<Reading>>::of_text(&text[..at], UID), None, "a part is none");
    }
}
