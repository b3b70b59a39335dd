//! Reviews that inputs describe: one of the bases, changed step by step.
//!
//! Changed as bytes, a review is mostly no JSON any more. So an input is read as a program: which
//! base, and then one change of one value after another.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isthmus::manifest;
use serde_json::{Value as Json, json};

use super::review::creation;

/// The most changes that one input makes.
const MOST_STEPS: usize = 48;
/// No body grows beyond this, in bytes.
const LARGEST: usize = 64 << 10;

/// Values that something has been done wrong with before.
const TELLING: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e400",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "[[]]",
    "\"true\"",
    "\"local\"",
    "\"cluster.local\"",
    "\"10.0.0.0/8\"",
    "\"10.111.0.0/16\"",
    "\"::ffff:10.0.0.0/104\"",
    "\"10.0.0.1/8\"",
    "\"127.0.0.1\"",
    "\"https://a.example/metadata\"",
    "\"HTTPS://A.example:443//x/../metadata\"",
    "\"24\"",
    "\"*\"",
    "\"a,b\"",
    "\"\\u0000\\u202e\"",
    "\"IstioMulticluster\"",
    "\"ConfigMap\"",
    "\"Secret\"",
    "\"kube-system\"",
    "\"istio-system\"",
    "{\"isthmus.dev/allow\": \"SubnetOverlap\"}",
    "{\"isthmus.dev/network\": \"vpc\"}",
    "{\"isthmus.dev/pod-subnet-cidr\": \"10.111.0.0/16\"}",
    "{\"isthmus.dev/cluster-domain\": \"other.local\"}",
    "{\"isthmus.dev/member\": \"cluster-b\"}",
];

/// A body, and what it is held against.
pub(super) struct Review {
    pub(super) body: Vec<u8>,
    /// Whether against the example mesh, and not an empty one.
    pub(super) mesh: bool,
    /// Whether with strict settings.
    pub(super) strict: bool,
    /// How many bytes were written to make it.
    pub(super) made: usize,
}

impl Review {
    pub(super) fn of(data: &[u8]) -> Self {
        // A body as it was recorded is an input too.
        if data.first() == Some(&b'{') || data.starts_with("\u{feff}".as_bytes()) {
            return Self { body: data.to_vec(), mesh: true, strict: false, made: 0 };
        }
        let mut tape = Tape(data);
        let bases = bases();
        let mut review = bases[usize::from(tape.byte()) % bases.len()].clone();
        let flags = tape.byte();
        if flags & 4 != 0 {
            review["request"]["operation"] = "UPDATE".into();
            review["request"]["oldObject"] = review["request"]["object"].clone();
        }
        let place = if flags & 8 != 0 { "/request" } else { "/request/object" };
        let mut made = 0;
        for _ in 0..MOST_STEPS {
            if tape.0.is_empty() {
                break;
            }
            if let Some(value) = review.pointer_mut(place) {
                made += step(value, &mut tape);
            }
        }
        // The kind that is announced follows the object, or nothing else would be looked at.
        if flags & 16 == 0
            && let Some(object) = review.pointer("/request/object").cloned()
            && let Some(kind) = review.pointer_mut("/request/kind")
        {
            *kind = creation(&object)["request"]["kind"].take();
        }
        let body = review.to_string().into_bytes();
        Self { body, mesh: flags & 1 != 0, strict: flags & 2 != 0, made }
    }
}

/// Reviews of every kind of object that is asked about.
pub fn bases() -> &'static [Json] {
    static BASES: OnceLock<Vec<Json>> = OnceLock::new();
    BASES.get_or_init(|| {
        let recorded = RECORDED.iter().map(|text| serde_json::from_str(text).unwrap());
        let written = manifest::read(include_str!("bases.yaml"), "bases.yaml").unwrap();
        let written =
            written.iter().map(|object| creation(&serde_json::from_str(&object.json).unwrap()));
        recorded.chain(written).collect()
    })
}

/// Reviews that an API server has sent.
const RECORDED: &[&str] = &[
    include_str!(
        "../../../tests/data/admission-reviews/003-create-istiomulticluster-cluster-a.json"
    ),
    include_str!(
        "../../../tests/data/admission-reviews/005-create-clusterconfiguration-cluster-b.json"
    ),
    include_str!(
        "../../../tests/data/admission-reviews/007-update-secret-d8-cluster-configuration.json"
    ),
    include_str!("../../../tests/data/admission-reviews/008-create-configmap-kubeadm-config.json"),
    include_str!("../../../tests/data/admission-reviews/009-create-moduleconfig-istio.json"),
    include_str!(
        "../../../tests/data/admission-reviews/010-create-moduleconfig-control-plane-manager.json"
    ),
    include_str!("../../../tests/data/admission-reviews/011-create-configmap-multicluster.json"),
    include_str!(
        "../../../tests/data/admission-reviews/013-update-istiomulticluster-cluster-b.json"
    ),
    include_str!(
        "../../../tests/data/admission-reviews/023-create-istiomulticluster-peer-5lsdf.json"
    ),
    include_str!("../../../tests/data/admission-reviews/024-create-configmap-d8-cluster-uuid.json"),
];

/// Changes one value; tells how many bytes the whole had.
fn step(root: &mut Json, tape: &mut Tape<'_>) -> usize {
    let (operation, at) = (tape.byte(), tape.number());
    let size = root.to_string().len();
    let room = LARGEST.saturating_sub(size);
    let nodes = count(root);
    let other = (operation % 7 == 5).then(|| nth(root, tape.number() % nodes).clone());
    let Some(value) = nth_mut(root, &mut (at % nodes)) else { return size };
    match operation % 7 {
        0 => *value = tape.text().into(),
        1 => *value = tape.telling(),
        2 => remove(value, tape.number()),
        3 => match value {
            Json::Object(entries) => {
                entries.insert(tape.text(), tape.telling());
            }
            Json::Array(items) => items.push(tape.telling()),
            _ => *value = json!([value.take()]),
        },
        4 => splice(value, tape),
        5 => {
            let other = other.unwrap_or_default();
            // A value within itself doubles with each step.
            if other.to_string().len() <= room {
                *value = other;
            }
        }
        _ => repeat(value, usize::from(tape.byte()), room),
    }
    size
}

fn remove(value: &mut Json, at: usize) {
    match value {
        Json::Object(entries) if !entries.is_empty() => {
            let key = entries.keys().nth(at % entries.len()).cloned();
            key.map(|key| entries.remove(&key));
        }
        Json::Array(items) if !items.is_empty() => drop(items.remove(at % items.len())),
        _ => *value = Json::Null,
    }
}

/// Puts another text into a string, or into the text that it encodes.
fn splice(value: &mut Json, tape: &mut Tape<'_>) {
    let Json::String(text) = value else { return };
    let decoded = STANDARD.decode(text.as_bytes()).ok().and_then(|t| String::from_utf8(t).ok());
    let decoded = decoded.filter(|text| text.len() > 16);
    let inner = decoded.as_ref().unwrap_or(text);
    let chars: Vec<char> = inner.chars().collect();
    let from = tape.number() % (chars.len() + 1);
    let to = (from + usize::from(tape.byte())).min(chars.len());
    let spliced: String = chars[..from]
        .iter()
        .copied()
        .chain(tape.text().chars())
        .chain(chars[to..].iter().copied())
        .collect();
    *text = if decoded.is_some() { STANDARD.encode(spliced) } else { spliced };
}

fn repeat(value: &mut Json, times: usize, room: usize) {
    let times = times.min(room / (value.to_string().len() + 8));
    match value {
        Json::Array(items) => {
            let once = items.clone();
            (0..times).for_each(|_| items.extend(once.iter().cloned()));
        }
        Json::Object(entries) => {
            let once = entries.clone();
            for (time, (key, value)) in
                (0..times).flat_map(|time| once.iter().map(move |e| (time, e)))
            {
                entries.insert(format!("{key}{time}"), value.clone());
            }
        }
        Json::String(text) => *text = text.repeat(times + 1),
        _ => {}
    }
}

fn count(value: &Json) -> usize {
    1 + children(value).map(count).sum::<usize>()
}

fn nth(value: &Json, at: usize) -> &Json {
    let mut left = at;
    let mut found = value;
    'down: while left > 0 {
        left -= 1;
        for child in children(found) {
            let nodes = count(child);
            if left < nodes {
                found = child;
                continue 'down;
            }
            left -= nodes;
        }
        break;
    }
    found
}

fn nth_mut<'v>(value: &'v mut Json, left: &mut usize) -> Option<&'v mut Json> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Json::Array(items) => items.iter_mut().find_map(|item| nth_mut(item, left)),
        Json::Object(entries) => entries.values_mut().find_map(|item| nth_mut(item, left)),
        _ => None,
    }
}

fn children(value: &Json) -> Box<dyn Iterator<Item = &Json> + '_> {
    match value {
        Json::Array(items) => Box::new(items.iter()),
        Json::Object(entries) => Box::new(entries.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// An input, read from its start; zeros once it is at its end.
struct Tape<'a>(&'a [u8]);

impl Tape<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    /// A text that ends with a byte that no UTF-8 has.
    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0xff).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    fn telling(&mut self) -> Json {
        let text = TELLING[usize::from(self.byte()) % TELLING.len()];
        serde_json::from_str(text).unwrap_or_else(|_| text.into())
    }
}
