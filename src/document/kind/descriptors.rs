//! Cluster descriptors, which configured the mesh of Pilot in Istio 0.8: ConfigMap `multicluster`,
//! and the cluster registry's own objects.

mod descriptor;
mod directory;
mod flow;
mod object;
mod spec;
mod stream;

use std::collections::BTreeMap;

use self::descriptor::{
    ACCESS_CONFIG_FILE, API_VERSION, Descriptor, KIND, PILOT_CFG_STORE, PREFIX, Surroundings,
    is_empty, looks_like_one,
};
use self::directory::{Directory, File};
use self::stream::Stream;
use crate::document::entry::{CONFIG_MAPS, CUSTOM_RESOURCES, Document, Scope, Select, local};
use crate::document::kind::kubeconfig;
use crate::document::toolkit::{EXITS, Notes, PILOT, PILOT_JSON, fields, of_object};
use crate::mesh::{About, Reading};
use crate::settings::Settings;
use crate::syntax::{Node, Object, Path, Position, Value, YamlError};
use crate::value::Invalid;

pub(crate) const CONFIG_MAP: Document = Document {
    name: "multicluster",
    kind: "ConfigMap",
    group: "",
    versions: &["v1"],
    resource: "configmaps",
    select: Select::named(Scope::Istio, &["multicluster"]),
    keys: &[],
    webhook: Some(CONFIG_MAPS),
    says: "the members named by its descriptors, read as Pilot of Istio 0.8 does; the descriptor with `pilotCfgStore` true describes the local member",
    read: read_config_map,
    canonical: &[],
};

pub(crate) const OBJECT: Document = Document {
    name: "Cluster",
    kind: KIND,
    group: "clusterregistry.k8s.io",
    versions: &["v1alpha1"],
    resource: "clusters",
    select: Select::all(Scope::Istio),
    keys: &[],
    webhook: Some(CUSTOM_RESOURCES),
    says: "the member named `metadata.name`, or the local member if `pilotCfgStore` is true",
    read: object::read,
    canonical: &[],
};

pub(crate) const FILE: Document = Document {
    name: "descriptor file",
    resource: "",
    select: Select::all(Scope::File),
    webhook: None,
    says: "the member named by the descriptor, before it is put into ConfigMap `multicluster`",
    ..OBJECT
};

/// How many descriptors one ConfigMap may hold: each is compared with every other. With a
/// kubeconfig for each, an object cannot hold more.
const MOST_DESCRIPTORS: usize = 500;
/// How many others a message names.
const NAMED: usize = 3;

fn read_config_map(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    let mut notes = Notes::new(reading, local(settings));
    of_object(object, &mut notes);
    let root = fields(object, ["data", "binaryData"], &mut notes);
    let top = root.top();
    let mut files = Vec::new();
    for keys in [&["data"], &["binaryData"]] {
        let field = notes.get(&top, keys);
        if !field.is_absent() && !notes.is_mapping(&field) {
            return;
        }
        files.extend(field.node.into_iter().flat_map(|node| File::all_of(keys[0], node)));
    }
    let mut streams = Vec::with_capacity(files.len());
    for file in &files {
        streams.push(match &file.text {
            Ok(text) => Stream::read(text, &object.budget).map_err(Some),
            Err(_) => Err(None),
        });
    }
    if !streams.iter().zip(&files).any(|(stream, file)| resembles(file, stream.as_ref().ok())) {
        let problem =
            "contains no cluster descriptor, so Pilot of Istio 0.8 finds no remote cluster in it";
        let remedy = "to describe clusters, write descriptors under keys that end in .yaml";
        let why = Invalid::new(problem, remedy);
        return notes.doubt_at(About::ControlPlane, Path::of_field("data"), why);
    }
    let notes = notes.in_dialect(&PILOT);
    let mut registry = Registry { notes, found: Vec::new(), is_whole: true };
    for (file, stream) in files.iter().zip(&streams) {
        registry.take_in(file, stream);
    }
    registry.read(&Directory::new(&files, &streams), settings);
    reading.share(&local(settings));
}

/// Whether a file resembles a descriptor, or part of what belongs to one.
fn resembles(file: &File<'_>, stream: Option<&Stream<'_>>) -> bool {
    let is_named = |text: &str| text.contains("clusterregistry.k8s.io") || text.contains(PREFIX);
    file.text.as_ref().is_ok_and(|text| is_named(text) || text.contains("current-context"))
        || stream.is_some_and(|stream| stream.documents.iter().any(looks_like_one))
}

/// All descriptors that Pilot reads together.
struct Registry<'r, 'n> {
    /// Of the ConfigMap as a whole, which the local member answers for.
    notes: Notes<'r>,
    /// Each with its place among those of its key.
    found: Vec<(usize, Descriptor<'n>)>,
    /// Whether every descriptor is among them, so that one which is missing is missing.
    is_whole: bool,
}

impl<'n> Registry<'_, 'n> {
    fn take_in(&mut self, file: &File<'_>, stream: &'n Result<Stream<'n>, Option<YamlError>>) {
        let is_read = file.holds_descriptors();
        match (&file.text, stream) {
            (Err(why), _) if file.field == "data" || is_read => {
                let about = if is_read { About::Descriptor } else { About::Document };
                self.lost(about, file.path(), why.clone());
            }
            (Ok(_), Ok(stream)) if is_read => self.descriptors(file, stream),
            (Ok(_), Ok(stream)) => self.ignored(file, stream),
            (Ok(text), Err(Some(error))) if is_read => self.unreadable(text, file, error),
            // By its looks: that it is not YAML is nothing to Pilot.
            (Ok(text), Err(_)) if text.contains(API_VERSION) => {
                self.wrong_ending(file, Position::NONE);
            }
            _ => {}
        }
    }

    fn unreadable(&mut self, text: &str, file: &File<'_>, error: &YamlError) {
        let YamlError { what, span } = error;
        let what = match what.as_str() {
            what if what.starts_with("not ") => format!("{what}, and {EXITS}"),
            what => what.to_owned(),
        };
        let remedy = "write descriptors as plain YAML or JSON".to_owned();
        // A kubeconfig by its looks, and so a line of it may hold a credential.
        let (problem, position) = if text.contains("current-context") {
            (format!("line {}: {what}", span.line), Position::NONE)
        } else {
            (what, span.position())
        };
        self.lost(About::Descriptor, file.path().at(position), Invalid { problem, remedy });
    }

    /// Takes in what Pilot reads.
    fn descriptors(&mut self, file: &File<'_>, stream: &'n Stream<'n>) {
        let documents = stream.documents.iter().enumerate();
        let full = documents.filter(|(_, document)| document.value != Value::Null);
        for (index, (at, document)) in full.enumerate() {
            let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
            let told = |problem: String, remedy: &str| {
                Some(Invalid { problem, remedy: remedy.to_owned() })
            };
            let why = if matches!(&document.value, Value::Map(entries) if entries.is_empty()) {
                continue;
            } else if stream.unread.contains(&at) {
                told(
                    "Pilot never reads this document: the `---` before it is not alone on its line"
                        .to_owned(),
                    "write `---` on a line of its own",
                )
            } else if !matches!(document.value, Value::Map(_)) {
                let problem = format!("is {}, not a descriptor, and {EXITS}", document.kind());
                told(problem, "write one mapping for each cluster")
            } else if is_empty(document) {
                let problem = "it has no field of a descriptor, so Pilot skips it".to_owned();
                told(problem, "write apiVersion, kind, metadata and spec at the top level")
            } else if kind == "Config" {
                let problem = format!(
                    "contains a kubeconfig, which Pilot reads as a descriptor, and {EXITS}"
                );
                told(problem, &format!("rename the key to {}.kube.conf", file.stem()))
            } else if !looks_like_one(document) {
                let problem = format!("kind {kind:?} is not {KIND}, and {EXITS}");
                told(problem, "write descriptors only under keys that end in .yaml or .yml")
            } else {
                None
            };
            match why {
                // Its line may hold a credential.
                Some(why) if kind == "Config" => self.lost(About::Descriptor, file.path(), why),
                Some(why) => {
                    let path = file.path().document(&index.to_string());
                    self.lost(About::Descriptor, path.at(document.span.position()), why);
                }
                None => self.found.push((
                    index,
                    Descriptor {
                        root: document,
                        path: Some(file.path()),
                        holder: file.path().to_string(),
                        is_json: stream.is_json,
                    },
                )),
            }
        }
    }

    /// Looks at what Pilot reads only if a descriptor names it.
    fn ignored(&mut self, file: &File<'_>, stream: &Stream<'_>) {
        if let Some(document) = stream.documents.iter().find(|document| looks_like_one(document)) {
            return self.wrong_ending(file, document.span.position());
        }
        let credentials = stream.documents.first().map(kubeconfig::credentials);
        let credentials = credentials.unwrap_or_default();
        if !credentials.is_empty() {
            let problem = format!(
                "contains credentials ({}), visible to everyone who may read ConfigMaps",
                credentials.join(", ")
            );
            let remedy = "move them to a Secret, where Istio 1.0 and later keep them; until then, restrict access to this ConfigMap";
            self.notes.doubt_at(About::AccessConfig, file.path(), Invalid::new(problem, remedy));
        }
    }

    fn wrong_ending(&mut self, file: &File<'_>, position: Position) {
        let problem = "contains a descriptor, but Pilot reads only keys that end in .yaml or .yml";
        let why = Invalid::new(problem, format!("rename the key to {}.yaml", file.stem()));
        self.lost(About::Descriptor, file.path().at(position), why);
    }

    /// Notes why there may be a descriptor that is not found.
    fn lost(&mut self, about: About, path: Path, why: Invalid) {
        self.is_whole = false;
        self.notes.fault_at(about, path, "", why);
    }

    /// Reads what was found, each descriptor within all of them.
    fn read(mut self, directory: &Directory<'_>, settings: &Settings) {
        if self.found.len() > MOST_DESCRIPTORS {
            let problem = format!(
                "{} descriptors, more than the {MOST_DESCRIPTORS} that are read",
                self.found.len()
            );
            let why = Invalid::new(problem, "keep one for each cluster of the mesh");
            return self.lost(About::Descriptor, Path::of_field("data"), why);
        }
        let found = self.named();
        let stores: Vec<_> = found.iter().map(Descriptor::is_control_plane).collect();
        let is_store = |(_, store): &(&Descriptor<'_>, &Option<bool>)| **store == Some(true);
        let control_planes: Vec<_> =
            found.iter().zip(&stores).filter(is_store).map(|(descriptor, _)| descriptor).collect();
        if control_planes.is_empty() && self.is_whole && stores.iter().all(Option::is_some) {
            let problem = format!(
                "no descriptor has {PREFIX}pilotCfgStore true, so Pilot silently serves none of the clusters"
            );
            let remedy = "set it to true in the descriptor of the cluster that Pilot runs in";
            let why = Invalid::new(problem, remedy);
            self.notes.fault_at(About::ControlPlane, Path::of_field("data"), "", why);
        }
        let mut names: BTreeMap<&str, Vec<&Descriptor<'_>>> = BTreeMap::new();
        for descriptor in &found {
            if let Some(name) = descriptor.name() {
                names.entry(name).or_default().push(descriptor);
            }
        }
        let control_plane = match control_planes.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let own = |descriptor: &Descriptor<'_>| directory.contexts(descriptor.access_config_file());
        let own: Vec<_> = found.iter().map(own).collect();
        let mut contexts: BTreeMap<&str, Vec<&Descriptor<'_>>> = BTreeMap::new();
        for (descriptor, context) in
            found.iter().zip(&own).flat_map(|(d, own)| own.iter().map(move |it| (d, it)))
        {
            contexts.entry(context).or_default().push(descriptor);
        }
        let access = found.iter().filter_map(Descriptor::access_config_file).collect();
        let around = Surroundings {
            control_plane,
            directory: Some(directory),
            unnamed: directory.unnamed(&access),
            strict: settings.strict_descriptors,
            is_istio: true,
        };
        for ((descriptor, store), own) in found.iter().zip(&stores).zip(&own) {
            let is_local = control_plane.is_some_and(|local| std::ptr::eq(local, descriptor));
            let dialect = if descriptor.is_json { &PILOT_JSON } else { &PILOT };
            let notes = &mut self.notes.in_dialect(dialect);
            if let Some(name) = descriptor.name().filter(|_| !is_local) {
                notes.member = name.into();
            }
            descriptor.member(*store, is_local, settings, notes);
            if *store == Some(true) && control_planes.len() > 1 {
                second_control_plane(descriptor, &control_planes, notes);
            }
            let same =
                descriptor.name().and_then(|name| names.get(name)).map_or(&[][..], Vec::as_slice);
            if same.len() > 1 {
                same_name(descriptor, same, notes);
            }
            let mut shared = own.iter().filter_map(|it| Some((it, contexts.get(it.as_str())?)));
            if let Some((what, all)) = shared.find(|(_, all)| all.len() > 1) {
                same_context(descriptor, what, all, notes);
            }
            descriptor.read(&around, notes);
        }
    }

    /// Gives each descriptor the path that its name makes, so that others which come and go do not
    /// shift it; its place among those of its key where it has none of its own.
    fn named(&mut self) -> Vec<Descriptor<'n>> {
        let found = std::mem::take(&mut self.found);
        let mut uses: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for (_, descriptor) in &found {
            let name = descriptor.name().unwrap_or_default();
            *uses.entry((descriptor.holder.clone(), name)).or_default() += 1;
        }
        let named = |(index, mut descriptor): (usize, Descriptor<'n>)| {
            let name = descriptor.name().filter(|name| is_plain(name));
            let is_own = |name: &&str| uses.get(&(descriptor.holder.clone(), *name)) == Some(&1);
            let name = name.filter(is_own).map_or_else(|| index.to_string(), str::to_owned);
            descriptor.path = descriptor.path.map(|path| path.document(&name));
            descriptor
        };
        found.into_iter().map(named).collect()
    }
}

/// Whether a name can stand in a path.
fn is_plain(name: &str) -> bool {
    name.len() <= 253
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn second_control_plane(
    descriptor: &Descriptor<'_>,
    control_planes: &[&Descriptor<'_>],
    notes: &mut Notes<'_>,
) {
    let problem =
        format!("is true here and in {}, and {EXITS}", others(descriptor, control_planes));
    let remedy = "keep it only in the descriptor of the cluster that Pilot runs in";
    let top = descriptor.top();
    let at = notes.get(&top, PILOT_CFG_STORE);
    notes.fault_of(About::ControlPlane, &at, "", Invalid::new(problem, remedy));
}

fn same_name(descriptor: &Descriptor<'_>, same: &[&Descriptor<'_>], notes: &mut Notes<'_>) {
    let problem = format!(
        "is also the name of {}, and Pilot would mix the endpoints of both clusters",
        others(descriptor, same)
    );
    let top = descriptor.top();
    let at = notes.get(&top, &["metadata", "name"]);
    notes.fault(&at, "", Invalid::new(problem, "give each cluster a unique name"));
}

/// Notes what leads Pilot to a cluster by two descriptors.
fn same_context(
    descriptor: &Descriptor<'_>,
    what: &str,
    all: &[&Descriptor<'_>],
    notes: &mut Notes<'_>,
) {
    let problem = format!("{what} is also that of {}", others(descriptor, all));
    let remedy = "give each cluster a kubeconfig of its own, which leads to its own API server";
    let top = descriptor.top();
    let at = notes.get(&top, ACCESS_CONFIG_FILE);
    notes.fault_of(About::SecurityContext, &at, "", Invalid::new(problem, remedy));
}

/// Those of some descriptors that are not this one, as messages name them.
fn others(descriptor: &Descriptor<'_>, all: &[&Descriptor<'_>]) -> String {
    let others = all.iter().filter(|other| !std::ptr::eq(**other, descriptor));
    let told: Vec<_> = others.clone().take(NAMED).map(|other| other.told()).collect();
    let more = if others.count() > NAMED { " and more" } else { "" };
    format!("{}{more}", told.join(", "))
}
