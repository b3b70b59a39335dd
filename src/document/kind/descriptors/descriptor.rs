//! One descriptor: what Pilot reads of it, and what it says of a member.

use super::directory::{Directory, file_name};
use super::flow::flow;
use super::spec;
use crate::document::toolkit::{
    Annotations, Cursor, EXITS, Notes, completing_annotations, network_annotation,
};
use crate::mesh::{About, Fact};
use crate::settings::Settings;
use crate::syntax::{Key, Node, Path, Value};
use crate::value::{Invalid, check_host_and_port, similar};

/// The version and kind of every descriptor.
pub(super) const API_VERSION: &str = "clusterregistry.k8s.io/v1alpha1";
pub(super) const KIND: &str = "Cluster";
/// What Istio's annotations begin with.
pub(super) const PREFIX: &str = "config.istio.io/";

/// The path of an annotation of Istio's.
macro_rules! annotation {
    ($name:literal) => {
        &["metadata", "annotations", concat!("config.istio.io/", $name)]
    };
}

const PILOT_ENDPOINT: &[&str] = annotation!("pilotEndpoint");
const PLATFORM: &[&str] = annotation!("platform");
pub(super) const PILOT_CFG_STORE: &[&str] = annotation!("pilotCfgStore");
pub(super) const ACCESS_CONFIG_FILE: &[&str] = annotation!("accessConfigFile");
/// A Pilot's endpoint, as messages show one.
const PILOT: &str = "192.168.1.1:9080";
const KNOWN: &[&str] = &["pilotEndpoint", "platform", "pilotCfgStore", "accessConfigFile"];
const PLATFORMS: &[&str] = &["Kubernetes", "Consul", "Eureka", "CloudFoundry"];
const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// One descriptor of those that Pilot reads together.
pub(super) struct Descriptor<'n> {
    pub(super) root: &'n Node<'n>,
    /// Where it is in the object that holds it; nothing where it is an object itself.
    pub(super) path: Option<Path>,
    /// The text or object that holds it, as messages name it.
    pub(super) holder: String,
    /// Whether Pilot takes its text for JSON.
    pub(super) is_json: bool,
}

/// What a descriptor is held against.
pub(super) struct Surroundings<'d> {
    /// The only descriptor with `pilotCfgStore` true, if there is just one.
    pub(super) control_plane: Option<&'d Descriptor<'d>>,
    /// The files beside it, where they are known.
    pub(super) directory: Option<&'d Directory<'d>>,
    /// Those of the files that no descriptor names.
    pub(super) unnamed: Vec<&'d str>,
    /// Whether a `spec` that is lost is refused.
    pub(super) strict: bool,
    /// Whether Pilot is meant to read it: the cluster registry has other users too.
    pub(super) is_istio: bool,
}

impl<'n> Descriptor<'n> {
    /// Where it begins.
    pub(super) fn top(&self) -> Cursor<'_, 'n> {
        match &self.path {
            Some(path) => Cursor::within(path, self.root),
            None => Cursor::top(self.root, &[]),
        }
    }

    /// `metadata.name`.
    pub(super) fn name(&self) -> Option<&'n str> {
        let name = self.root.get("metadata")?.get("name")?.scalar()?;
        (!name.is_empty()).then_some(name)
    }

    /// Whether Pilot takes it for the cluster that it runs in; nothing where Pilot cannot tell.
    pub(super) fn is_control_plane(&self) -> Option<bool> {
        match self.annotation(PILOT_CFG_STORE) {
            None => Some(false),
            Some(node) => match node.scalar()? {
                "" => Some(false),
                text => go_bool(text),
            },
        }
    }

    /// Who it is, as messages name it.
    pub(super) fn told(&self) -> String {
        let metadata = self.root.get("metadata");
        let node = metadata.and_then(|metadata| metadata.get("name")).unwrap_or(self.root);
        let place = match node.span.line {
            0 => self.holder.clone(),
            line => format!("{} line {line}", self.holder),
        };
        match self.name() {
            Some(name) => format!("{name:?} ({place})"),
            None => format!("a descriptor without a name ({place})"),
        }
    }

    fn annotation(&self, path: &[&str]) -> Option<&'n Node<'n>> {
        path.iter().try_fold(self.root, |node, key| node.get(key))
    }

    /// The file that it names as its kubeconfig.
    pub(super) fn access_config_file(&self) -> Option<&'n str> {
        file_name(self.stated(ACCESS_CONFIG_FILE)?).ok()
    }

    /// An endpoint of Pilot that clients can dial.
    fn endpoint(&self) -> Option<&'n str> {
        let text = self.annotation(PILOT_ENDPOINT)?.scalar()?;
        check_host_and_port(text, PILOT).ok().map(|()| text)
    }

    /// Notes which member it describes.
    pub(super) fn member(
        &self,
        store: Option<bool>,
        is_local: bool,
        settings: &Settings,
        notes: &mut Notes<'_>,
    ) {
        let Some(name) = self.name() else { return };
        let top = self.top();
        let at = notes.get(&top, &["metadata", "name"]);
        if store != Some(true) {
            notes.claim(&at, Fact::Remote);
        }
        if name == settings.local_member && !is_local {
            let problem = format!(
                "{name:?} is the name of the local member, but this descriptor is for a different cluster"
            );
            let remedy = "rename it, or set the name of the local member with --local-member";
            notes.doubt(&at, "", Invalid::new(problem, remedy));
        }
    }

    /// Notes everything that the descriptor says, and what is wrong with it, by itself and within
    /// its ConfigMap.
    pub(super) fn read(&self, around: &Surroundings<'_>, notes: &mut Notes<'_>) {
        let top = self.top();
        self.version(&top, notes);
        spec::unknown_fields(&top, FIELDS, notes);
        let metadata = notes.get(&top, &["metadata"]);
        if metadata.is_absent() {
            nameless(&top, self.root, notes);
            self.istio(&metadata, around, notes);
        } else if notes.is_mapping(&metadata) {
            self.metadata(&top, &metadata, around, notes);
        }
        let spec = notes.get(&top, &["spec"]);
        spec::read(&spec, notes);
    }

    fn version(&self, top: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
        let mut check = |keys, wanted: &str, problem: &dyn Fn(&str) -> String| {
            let at = notes.get(top, keys);
            let found = at.node.and_then(Node::scalar).unwrap_or_default();
            if found != wanted {
                let at = at.at(at.node.unwrap_or(self.root).span.position());
                notes.fault(&at, "", Invalid::new(problem(found), format!("write {wanted}")));
            }
        };
        check(&["apiVersion"], API_VERSION, &|found| {
            format!("apiVersion {found:?} is not that of a cluster descriptor")
        });
        check(&["kind"], KIND, &|found| format!("kind {found:?} is not {KIND}, and {EXITS}"));
    }

    fn metadata(
        &self,
        top: &Cursor<'_, '_>,
        metadata: &Cursor<'_, '_>,
        around: &Surroundings<'_>,
        notes: &mut Notes<'_>,
    ) {
        let name = notes.get(metadata, &["name"]);
        if name.is_absent() || notes.text(&name) == Some("") {
            let holder = metadata.node.unwrap_or(self.root);
            let written = holder.get("name").unwrap_or(holder);
            nameless(top, written, notes);
        }
        if let Some((key, _)) = metadata.node.and_then(|metadata| metadata.entry("spec")) {
            self.nested_spec(&notes.get(metadata, &["spec"]), key, around.strict, notes);
        }
        let annotations = notes.get(metadata, &["annotations"]);
        if annotations.is_absent() || notes.is_mapping(&annotations) {
            self.istio(&annotations, around, notes);
            completing_annotations(Annotations::Descriptor(top), notes);
            network_annotation(Annotations::Descriptor(top), notes);
        }
    }

    fn nested_spec(
        &self,
        spec: &Cursor<'_, '_>,
        key: &Key<'_>,
        strict: bool,
        notes: &mut Notes<'_>,
    ) {
        // A warning that is too long loses its remedy.
        let prefix = self.path.as_ref().map_or(0, |path| path.to_string().chars().count());
        let room = MOST_CORRECTED.saturating_sub(prefix);
        let flow = spec.node.map_or(Some("null".to_owned()), |spec| flow(spec, MOST_CORRECTED));
        let remedy = match flow {
            _ if self.root.get("spec").is_some() => {
                "remove it: the top-level spec is the one that counts".to_owned()
            }
            Some(flow) if flow.chars().count() <= room => {
                format!("write at the top level: spec: {flow}")
            }
            _ => "move it to the top level, next to metadata: indent it by two spaces less"
                .to_owned(),
        };
        let why = Invalid::new("spec under metadata is ignored", remedy);
        let at = spec.at(key.span.position());
        if strict {
            notes.fault(&at, "", why);
        } else {
            notes.doubt(&at, "", why);
        }
        spec::read(spec, notes);
    }

    /// The annotations that Pilot reads.
    fn istio(
        &self,
        annotations: &Cursor<'_, '_>,
        around: &Surroundings<'_>,
        notes: &mut Notes<'_>,
    ) {
        for (key, node) in notes.entries(annotations, "a mapping") {
            let at = annotations.entry(&key.text, &key.text, node);
            notes.text(&at);
            let at_key = annotations.key(&key.text).at(key.span.position());
            unknown_annotation(&at_key, self.path.is_some(), notes);
        }
        if !around.is_istio {
            return;
        }
        let top = self.top();
        self.pilot_endpoint(&top, around, notes);
        self.platform(&top, notes);
        if let Some(text) = self.stated(PILOT_CFG_STORE).filter(|text| go_bool(text).is_none()) {
            let problem = format!("{text:?} is not a Go boolean, and {EXITS}");
            let remedy = match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" => "write \"true\"",
                "no" | "n" | "off" => "write \"false\"",
                _ => "write \"true\" or \"false\"",
            };
            let at = notes.get(&top, PILOT_CFG_STORE);
            notes.fault(&at, "", Invalid::new(problem, remedy));
        }
        self.access_config(&top, around, notes);
    }

    fn pilot_endpoint(
        &self,
        top: &Cursor<'_, '_>,
        around: &Surroundings<'_>,
        notes: &mut Notes<'_>,
    ) {
        let of_control_plane =
            around.control_plane.and_then(|descriptor| Some((descriptor, descriptor.endpoint()?)));
        let as_control_plane = of_control_plane.map(|(_, endpoint)| {
            format!("write \"{endpoint}\", the endpoint of the control plane")
        });
        let Some(text) = self.stated(PILOT_ENDPOINT) else {
            let remedy =
                as_control_plane.unwrap_or_else(|| format!("write one such as \"{PILOT}\""));
            return self.missing(PILOT_ENDPOINT, About::Descriptor, remedy, notes);
        };
        let at = notes.get(top, PILOT_ENDPOINT);
        if let Err(why) = check_host_and_port(text, PILOT) {
            let remedy = as_control_plane.unwrap_or(why.remedy);
            return notes.fault(&at, "", Invalid { remedy, ..why });
        }
        if let Some((control_plane, endpoint)) = of_control_plane
            && endpoint != text
        {
            let problem = format!(
                "{text} differs from {endpoint} of the control plane {}, so Pilot would never serve this cluster",
                control_plane.told()
            );
            let remedy = format!("write \"{endpoint}\"");
            notes.fault(&at, "", Invalid { problem, remedy });
        }
    }

    fn platform(&self, top: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
        let Some(text) = self.stated(PLATFORM) else {
            let remedy = "write Kubernetes".to_owned();
            return self.missing(PLATFORM, About::Descriptor, remedy, notes);
        };
        if !PLATFORMS.contains(&text) {
            let problem = format!("{text:?} is not a platform that Pilot knows, and {EXITS}");
            let remedy = match similar(text, PLATFORMS) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write one of {}", PLATFORMS.join(", ")),
            };
            let at = notes.get(top, PLATFORM);
            notes.fault(&at, "", Invalid { problem, remedy });
        }
    }

    fn access_config(
        &self,
        top: &Cursor<'_, '_>,
        around: &Surroundings<'_>,
        notes: &mut Notes<'_>,
    ) {
        const WRITE: &str = "write the key that holds the cluster's kubeconfig";
        let Some(text) = self.stated(ACCESS_CONFIG_FILE) else {
            let about = About::AccessConfig;
            return self.missing(ACCESS_CONFIG_FILE, about, WRITE.to_owned(), notes);
        };
        let at = notes.get(top, ACCESS_CONFIG_FILE);
        let Some(directory) = around.directory else {
            if let Err(problem) = file_name(text) {
                let why = Invalid::new(format!("{text:?} {problem}"), WRITE);
                notes.fault_of(About::AccessConfig, &at, "", why);
            }
            return;
        };
        match directory.access(text, &around.unnamed) {
            Err(why) => notes.fault_of(About::AccessConfig, &at, "", why),
            Ok(_) if directory.runs_a_program(text) => {
                let problem = "its kubeconfig gets credentials from a program (exec), which Pilot's image does not contain";
                let why = Invalid::new(problem, "write a token or a client certificate");
                notes.doubt_of(About::AccessConfig, &at, "", why);
            }
            Ok(absent) if absent.is_empty() => {}
            Ok(absent) => {
                let problem = format!(
                    "its kubeconfig refers to files that are not in the ConfigMap ({})",
                    absent.join(", ")
                );
                let why = Invalid::new(problem, "embed them: kubectl config view --flatten");
                notes.doubt_of(About::AccessConfig, &at, "", why);
            }
        }
    }

    /// The text of an annotation that is there and not empty.
    fn stated(&self, path: &[&str]) -> Option<&'n str> {
        self.annotation(path)?.scalar().filter(|text| !text.is_empty())
    }

    fn missing(
        &self,
        path: &'static [&'static str],
        about: About,
        remedy: String,
        notes: &mut Notes<'_>,
    ) {
        let node = self.annotation(path);
        // That it is not a string is already reported.
        if node.is_some_and(|node| node.scalar().is_none()) {
            return;
        }
        let metadata = self.root.get("metadata");
        let holder = metadata.and_then(|metadata| metadata.entry("annotations"));
        let position = node.map(|node| node.span.position());
        let position = position.or_else(|| holder.map(|(key, _)| key.span.position()));
        let position = position.unwrap_or_else(|| metadata.unwrap_or(self.root).span.position());
        let what = if node.is_some() { "is empty" } else { "is missing" };
        let key = path.last().copied().unwrap_or_default();
        let why = Invalid::new(format!("{key} {what}, and {EXITS}"), remedy);
        notes.fault_of(about, &self.top().to(path).at(position), "", why);
    }
}

/// How many characters a corrected `spec` and what stands before its path may have together, so
/// that a warning of it is passed on whole.
const MOST_CORRECTED: usize = 256
    - "spec under metadata is ignored; write at the top level: spec: ".len()
    - ".metadata.spec: line 1000, column 100:  [InvalidDescriptor]".len();

fn nameless(top: &Cursor<'_, '_>, found: &Node<'_>, notes: &mut Notes<'_>) {
    let problem = "the name, by which Pilot distinguishes clusters, is missing";
    let why = Invalid::new(problem, "write a unique metadata.name in each descriptor");
    let at = top.to(&["metadata", "name"]).at(found.span.position());
    notes.fault(&at, "", why);
}

/// Notes an annotation that Pilot does not read, if it was meant for Pilot.
fn unknown_annotation(at: &Cursor<'_, '_>, is_within: bool, notes: &mut Notes<'_>) {
    let text = at.last_key();
    if text == "isthmus.dev/allow" && is_within {
        let problem = "this annotation has no effect inside a descriptor";
        return notes.doubt(at, "", Invalid::new(problem, "annotate the ConfigMap instead"));
    }
    let (is_istio, name) = match text.strip_prefix(PREFIX) {
        Some(name) => (true, name),
        None => (false, text.rsplit('/').next().unwrap_or(text)),
    };
    if is_istio == KNOWN.contains(&name) {
        return;
    }
    let problem = format!("{text:?} is not an annotation that Pilot reads");
    let meant = if is_istio { similar(name, KNOWN) } else { Some(name) };
    match meant {
        Some(meant) => {
            let remedy = format!("did you mean {PREFIX}{meant}?");
            notes.fault(at, "", Invalid { problem, remedy });
        }
        None => notes.doubt(at, "", Invalid::new(problem, "remove it")),
    }
}

/// A boolean as Go reads it.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether a document is a descriptor by its looks, whatever key holds it.
pub(super) fn looks_like_one(document: &Node<'_>) -> bool {
    let text = |key: &str| document.get(key).and_then(Node::text).unwrap_or_default();
    text("kind") == KIND || text("apiVersion").starts_with("clusterregistry.k8s.io/")
}

/// Whether Pilot's decoder takes a document for an empty one, and skips it.
pub(super) fn is_empty(document: &Node<'_>) -> bool {
    matches!(&document.value, Value::Map(entries) if entries.iter().all(|(key, node)| {
        !FIELDS.contains(&key.text.as_ref()) || node.value == Value::Null
    }))
}
