//! One descriptor: what Pilot reads of it, and what it says of a member.

use super::directory::{Directory, file_name};
use super::flow::flow;
use super::spec;
use super::writer::{EXITS, Writer};
use crate::document::toolkit::{Annotations, completing_annotations, network_annotation};
use crate::mesh::About;
use crate::syntax::{Key, Node, Value};
use crate::value::{Invalid, check_host_and_port, similar};

/// The version and kind of every descriptor.
pub(super) const API_VERSION: &str = "clusterregistry.k8s.io/v1alpha1";
pub(super) const KIND: &str = "Cluster";
/// What Istio's annotations begin with.
pub(super) const PREFIX: &str = "config.istio.io/";
/// The path of a descriptor's annotations.
const ANNOTATIONS: &str = "metadata.annotations";

const PILOT_ENDPOINT: &str = "pilotEndpoint";
const PLATFORM: &str = "platform";
pub(super) const PILOT_CFG_STORE: &str = "pilotCfgStore";
const ACCESS_CONFIG_FILE: &str = "accessConfigFile";
/// A Pilot's endpoint, as messages show one.
const PILOT: &str = "192.168.1.1:9080";
const KNOWN: &[&str] = &[PILOT_ENDPOINT, PLATFORM, PILOT_CFG_STORE, ACCESS_CONFIG_FILE];
const PLATFORMS: &[&str] = &["Kubernetes", "Consul", "Eureka", "CloudFoundry"];
const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// One descriptor of those that Pilot reads together.
pub(super) struct Descriptor<'n> {
    pub(super) root: &'n Node<'n>,
    /// What stands before its paths: `data[key][name]`, or nothing.
    pub(super) prefix: String,
    /// The place of the text that holds it, as messages name it.
    pub(super) place: String,
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
        let node = self.root.get("metadata").and_then(|metadata| metadata.get("name"));
        let line = node.map_or(0, |node| node.span.line);
        let place = match line {
            0 => self.place.clone(),
            line => format!("{} line {line}", self.place),
        };
        match self.name() {
            Some(name) => format!("{name:?} ({place})"),
            None => format!("the nameless one ({place})"),
        }
    }

    /// The path of an annotation of Istio's.
    pub(super) fn path_of(annotation: &str) -> String {
        format!("{ANNOTATIONS}[{PREFIX}{annotation}]")
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'n Node<'n>> {
        self.root.get("metadata")?.get("annotations")?.get(&format!("{PREFIX}{name}"))
    }

    /// The file that it names as its kubeconfig.
    pub(super) fn access_config_file(&self) -> Option<&'n str> {
        file_name(self.stated(ACCESS_CONFIG_FILE)?.1).ok()
    }

    /// An endpoint of Pilot that clients can dial.
    fn endpoint(&self) -> Option<&'n str> {
        let text = self.annotation(PILOT_ENDPOINT)?.scalar()?;
        check_host_and_port(text, PILOT).ok().map(|()| text)
    }

    /// Notes all that the descriptor says, and all that is wrong with it by itself and within its
    /// surroundings.
    pub(super) fn read(&self, around: &Surroundings<'_>, writer: &mut Writer<'_>) {
        self.version(writer);
        writer.unknown_fields(self.root, "", FIELDS);
        match self.root.get("metadata") {
            None | Some(Node { value: Value::Null, .. }) => {
                nameless(self.root, writer);
                self.istio(&[], around, writer);
            }
            Some(metadata) => {
                if writer.mapping(metadata, "metadata") {
                    self.metadata(metadata, around, writer);
                }
            }
        }
        if let Some(spec) = self.root.get("spec") {
            spec::read(spec, "spec", writer);
        }
    }

    fn version(&self, writer: &mut Writer<'_>) {
        let node = self.root.get("apiVersion");
        let found = node.and_then(Node::scalar).unwrap_or_default();
        if found != API_VERSION {
            let problem = format!("apiVersion {found:?} is not that of a cluster descriptor");
            let remedy = format!("write {API_VERSION}");
            writer.fault("apiVersion", node.or(Some(self.root)), Invalid { problem, remedy });
        }
        let node = self.root.get("kind");
        let found = node.and_then(Node::scalar).unwrap_or_default();
        if found != KIND {
            let problem = format!("kind {found:?} is not {KIND}, and {EXITS}");
            let remedy = format!("write {KIND}");
            writer.fault("kind", node.or(Some(self.root)), Invalid { problem, remedy });
        }
    }

    fn metadata(&self, metadata: &'n Node<'n>, around: &Surroundings<'_>, writer: &mut Writer<'_>) {
        let name = metadata.get("name");
        let text = name.map(|node| (writer.string(node, "metadata.name"), node));
        match text {
            None | Some((None, Node { value: Value::Text(_) | Value::Null, .. })) => {
                nameless(name.unwrap_or(metadata), writer);
            }
            _ => {}
        }
        if let Some((key, spec)) = metadata.entry("spec") {
            self.nested_spec(key, spec, around.strict, writer);
        }
        let annotations = metadata.get("annotations");
        let Some(annotations) = annotations.filter(|node| node.value != Value::Null) else {
            return self.istio(&[], around, writer);
        };
        let Value::Map(entries) = &annotations.value else {
            return writer.wrong_kind(annotations, ANNOTATIONS, "a mapping");
        };
        self.istio(entries, around, writer);
        let annotations = Annotations::Descriptor(annotations, &writer.prefix);
        completing_annotations(&annotations, writer.reading, &writer.member);
        network_annotation(&annotations, writer.reading, &writer.member);
    }

    fn nested_spec(&self, key: &Key<'_>, spec: &Node<'_>, strict: bool, writer: &mut Writer<'_>) {
        const PATH: &str = "metadata.spec";
        let problem = "spec under metadata is ignored".to_owned();
        let flow = flow(spec, MOST_CORRECTED);
        // A warning that is too long loses its remedy.
        let room = MOST_CORRECTED.saturating_sub(writer.prefix.chars().count());
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
        let why = Invalid { problem, remedy };
        writer.note(About::Descriptor, !strict, PATH, key.span.position(), why);
        spec::read(spec, PATH, writer);
    }

    /// The annotations that Pilot reads.
    fn istio(
        &self,
        entries: &[(Key<'n>, Node<'n>)],
        around: &Surroundings<'_>,
        writer: &mut Writer<'_>,
    ) {
        for (key, node) in entries {
            writer.string(node, &format!("{ANNOTATIONS}[{}]", key.text));
            unknown_annotation(key, writer);
        }
        if !around.is_istio {
            return;
        }
        self.pilot_endpoint(around, writer);
        self.platform(writer);
        if let Some(node) = self.annotation(PILOT_CFG_STORE)
            && let Some(text) = node.scalar().filter(|text| !text.is_empty())
            && go_bool(text).is_none()
        {
            let problem = format!("{text:?} is not a Go boolean, and {EXITS}");
            let remedy = match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" => "write \"true\"",
                "no" | "n" | "off" => "write \"false\"",
                _ => "write \"true\" or \"false\"",
            };
            let why = Invalid { problem, remedy: remedy.to_owned() };
            writer.fault(&Self::path_of(PILOT_CFG_STORE), Some(node), why);
        }
        self.access_config(around, writer);
    }

    fn pilot_endpoint(&self, around: &Surroundings<'_>, writer: &mut Writer<'_>) {
        let path = Self::path_of(PILOT_ENDPOINT);
        let of_control_plane =
            around.control_plane.and_then(|descriptor| Some((descriptor, descriptor.endpoint()?)));
        let as_control_plane = of_control_plane.map(|(_, endpoint)| {
            format!("write \"{endpoint}\", the endpoint of the control plane")
        });
        let Some((node, text)) = self.stated(PILOT_ENDPOINT) else {
            let remedy =
                as_control_plane.unwrap_or_else(|| format!("write one such as \"{PILOT}\""));
            return self.missing(PILOT_ENDPOINT, About::Descriptor, remedy, writer);
        };
        if let Err(why) = check_host_and_port(text, PILOT) {
            let remedy = as_control_plane.unwrap_or(why.remedy);
            return writer.fault(&path, Some(node), Invalid { remedy, ..why });
        }
        if let Some((control_plane, endpoint)) = of_control_plane
            && endpoint != text
        {
            let problem = format!(
                "{text} differs from {endpoint} of the control plane {}, so Pilot would never serve this cluster",
                control_plane.told()
            );
            let remedy = format!("write \"{endpoint}\"");
            writer.fault(&path, Some(node), Invalid { problem, remedy });
        }
    }

    fn platform(&self, writer: &mut Writer<'_>) {
        let known = PLATFORMS.join(", ");
        let Some((node, text)) = self.stated(PLATFORM) else {
            let remedy = "write Kubernetes".to_owned();
            return self.missing(PLATFORM, About::Descriptor, remedy, writer);
        };
        if !PLATFORMS.contains(&text) {
            let problem = format!("{text:?} is not a platform that Pilot knows, and {EXITS}");
            let remedy = match similar(text, PLATFORMS) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write one of {known}"),
            };
            writer.fault(&Self::path_of(PLATFORM), Some(node), Invalid { problem, remedy });
        }
    }

    fn access_config(&self, around: &Surroundings<'_>, writer: &mut Writer<'_>) {
        let Some((node, text)) = self.stated(ACCESS_CONFIG_FILE) else {
            let remedy = "write the key that holds the cluster's kubeconfig".to_owned();
            return self.missing(ACCESS_CONFIG_FILE, About::AccessConfig, remedy, writer);
        };
        let path = Self::path_of(ACCESS_CONFIG_FILE);
        let mut note = |harmless, why| {
            writer.note(About::AccessConfig, harmless, &path, node.span.position(), why);
        };
        let Some(directory) = around.directory else {
            if let Err(problem) = file_name(text) {
                let remedy = "write the key that holds the cluster's kubeconfig".to_owned();
                note(false, Invalid { problem: format!("{text:?} {problem}"), remedy });
            }
            return;
        };
        match directory.access(text, &around.unnamed) {
            Err(why) => note(false, why),
            Ok(absent) if absent.is_empty() => {}
            Ok(absent) => {
                let problem = format!(
                    "its kubeconfig refers to files that are not in the ConfigMap ({})",
                    absent.join(", ")
                );
                let remedy = "embed them: kubectl config view --flatten".to_owned();
                note(true, Invalid { problem, remedy });
            }
        }
    }

    /// The text of an annotation that is there and not empty.
    fn stated(&self, name: &str) -> Option<(&'n Node<'n>, &'n str)> {
        let node = self.annotation(name)?;
        let text = node.scalar().filter(|text| !text.is_empty())?;
        Some((node, text))
    }

    fn missing(&self, name: &str, about: About, remedy: String, writer: &mut Writer<'_>) {
        let node = self.annotation(name);
        // That it is no string is told already.
        if node.is_some_and(|node| node.scalar().is_none()) {
            return;
        }
        let metadata = self.root.get("metadata");
        let holder = metadata.and_then(|metadata| metadata.entry("annotations"));
        let at = node.map(|node| node.span.position());
        let at = at.or_else(|| holder.map(|(key, _)| key.span.position()));
        let at = at.unwrap_or_else(|| metadata.unwrap_or(self.root).span.position());
        let what = if node.is_some() { "is empty" } else { "is missing" };
        let problem = format!("{PREFIX}{name} {what}, and {EXITS}");
        writer.note(about, false, &Self::path_of(name), at, Invalid { problem, remedy });
    }
}

/// How many characters a corrected `spec` and what stands before its path may have together, so
/// that a warning of it is passed on whole.
const MOST_CORRECTED: usize = 256
    - "spec under metadata is ignored; write at the top level: spec: ".len()
    - ".metadata.spec: line 1000, column 100:  [InvalidDescriptor]".len();

fn nameless(at: &Node<'_>, writer: &mut Writer<'_>) {
    let why = Invalid {
        problem: "the name, by which Pilot distinguishes clusters, is missing".to_owned(),
        remedy: "write a unique metadata.name in each descriptor".to_owned(),
    };
    writer.fault("metadata.name", Some(at), why);
}

/// Notes an annotation that Pilot does not read, if it was meant for Pilot.
fn unknown_annotation(key: &Key<'_>, writer: &mut Writer<'_>) {
    let text = key.text.as_ref();
    let position = key.span.position();
    let path = format!("{ANNOTATIONS}[{text}]");
    if text == "isthmus.dev/allow" && !writer.prefix.is_empty() {
        let problem = "this annotation has no effect inside a descriptor".to_owned();
        let remedy = "annotate the ConfigMap instead".to_owned();
        return writer.note(About::Descriptor, true, &path, position, Invalid { problem, remedy });
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
    let why = match meant {
        Some(meant) => Invalid { problem, remedy: format!("did you mean {PREFIX}{meant}?") },
        None => Invalid { problem, remedy: "drop it".to_owned() },
    };
    writer.note(About::Descriptor, meant.is_none(), &path, position, why);
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
