//! Events of what stands wrong, each at the object that is at fault.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::document::DOCUMENTS;
use crate::report::sentence;
use crate::rule::Finding;

/// Who tells.
const REPORTER: &str = "isthmus-scout";
/// How long an Event is not repeated: as long as API servers usually keep one.
const KEPT: Duration = Duration::from_hours(1);
/// How many are told in that time.
const MOST: usize = 100;
/// The longest message, in characters.
const LONGEST: usize = 1024;

/// What has been told, and when.
#[derive(Default)]
pub(super) struct Told(BTreeMap<u64, Instant>);

impl Told {
    /// The Event of a finding that denies, and its namespace, unless it was told already.
    pub(super) fn event(
        &mut self,
        finding: &Finding,
        uid: &str,
        now: Timestamp,
    ) -> Option<(String, Event)> {
        self.0.retain(|_, told| told.elapsed() < KEPT);
        let object = &finding.place.object;
        let mut hasher = DefaultHasher::new();
        (finding.rule, &finding.value, finding.extent, object).hash(&mut hasher);
        finding.place.path().to_string().hash(&mut hasher);
        finding.against.as_ref().map(|side| side.object.to_string()).hash(&mut hasher);
        let identity = hasher.finish();
        if self.0.len() >= MOST || self.0.contains_key(&identity) {
            return None;
        }
        self.0.insert(identity, Instant::now());
        let document = DOCUMENTS.iter().find(|document| document.kind == object.kind)?;
        let version = document.versions.first().copied().unwrap_or_default();
        let api_version = match document.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        };
        // Those of cluster-scoped objects lie in `default`.
        let namespace = object.namespace.as_deref().unwrap_or("default").to_owned();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{identity:016x}", shortened(&object.name))),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(api_version),
                kind: Some(object.kind.to_string()),
                name: Some(object.name.to_string()),
                namespace: object.namespace.as_deref().map(str::to_owned),
                uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some(finding.rule.to_owned()),
            message: Some(sentence(finding).chars().take(LONGEST).collect()),
            source: Some(EventSource { component: Some(REPORTER.to_owned()), host: None }),
            reporting_component: Some(REPORTER.to_owned()),
            reporting_instance: Some(REPORTER.to_owned()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        };
        Some((namespace, event))
    }
}

/// The name of the object as far as the name of an Event has room for it.
fn shortened(name: &str) -> String {
    let is_in_name = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(*c);
    let kept: String = name.chars().filter(is_in_name).take(200).collect();
    let kept = kept.trim_matches(['.', '-']);
    if kept.is_empty() { "isthmus".to_owned() } else { kept.to_owned() }
}
