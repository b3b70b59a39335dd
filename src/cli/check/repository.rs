//! Whose files are whose: `--member`, and the file `isthmus.yaml` of a repository.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Map, Value as Json, json};

use super::files::Inputs;
use crate::budget::Budget;
use crate::mesh::MemberName;
use crate::report::diagnostic::{CHECK_CODES, Level};
use crate::rule::RULES;
use crate::settings::{Form, SETTINGS, Setting, Settings};
use crate::syntax::{Key, MOST_VALUES, Node, Value, yaml_document};
use crate::value::similar;

/// What the file is called that describes a repository.
const FILE: &str = "isthmus.yaml";
/// Where a search for it ends.
const TOP: &str = ".git";

/// The levels of rules that differ from their own; `None` turns a rule off.
pub(in crate::cli) type Severities = BTreeMap<&'static str, Option<Level>>;

/// What is known of a repository besides its manifests.
#[derive(Debug, Default)]
pub(super) struct Repository {
    /// Whether a file describes it.
    pub(super) is_found: bool,
    /// Where its paths begin; nothing where that is the working directory.
    root: PathBuf,
    /// Whose files are where, from the root, each member once.
    pub(super) members: Vec<(MemberName, Vec<PathBuf>)>,
    /// What is not read, from the root.
    excluded: Vec<PathBuf>,
    /// Whether directories with a kustomization are built.
    pub(super) kustomize: bool,
    /// The levels of rules that differ from their own; `None` turns a rule off.
    pub(super) severities: Severities,
    settings: Vec<(&'static Setting, String)>,
}

/// A member and where its files are: `NAME=PATH`.
#[derive(Clone, Debug)]
pub(super) struct Named {
    name: MemberName,
    path: PathBuf,
}

impl Named {
    /// Reads what is written on a command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.into(), path: path.into() })
            }
            _ => Err("write NAME=PATH, such as eu-west=clusters/eu-west".to_owned()),
        }
    }
}

impl Repository {
    /// The repository of this file, or of the nearest one that is called [`FILE`].
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file.map(Path::to_owned).or_else(nearest) else {
            return Ok(Self::default());
        };
        let name = file.display();
        let text = fs::read_to_string(&file).with_context(|| format!("{name} cannot be read"))?;
        let root = file.parent().unwrap_or(&file).to_owned();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let read = yaml_document(text, &Budget::of(MOST_VALUES)).map_err(Wrong::from);
        match read.and_then(|node| Self::of(&node)) {
            Ok(repository) => Ok(Self { root, is_found: true, ..repository }),
            Err(Wrong { what, line, column }) => bail!("{name}:{line}:{column}: {what}"),
        }
    }

    /// The same with the members of a command line in place of its own.
    pub(super) fn with(mut self, named: &[Named]) -> Self {
        if named.is_empty() {
            return self;
        }
        (self.root, self.members) = (PathBuf::new(), Vec::new());
        for Named { name, path } in named {
            match self.members.iter_mut().find(|(known, _)| known == name) {
                Some((_, paths)) => paths.push(path.clone()),
                None => self.members.push((name.clone(), vec![path.clone()])),
            }
        }
        self
    }

    /// The settings that are given, and where none is, those of the repository.
    pub(super) fn settings(
        &self,
        mut given: Settings,
        is_given: impl Fn(&Setting) -> bool,
    ) -> Settings {
        for (setting, text) in self.settings.iter().filter(|(setting, _)| !is_given(setting)) {
            // It was tried when it was read.
            let _ = setting.set(&mut given, text);
        }
        given
    }

    /// The settings of each cluster that is judged as the local one.
    pub(super) fn views(&self, settings: &Arc<Settings>) -> Vec<Arc<Settings>> {
        if self.members.is_empty() {
            return vec![Arc::clone(settings)];
        }
        let views = self.members.iter().map(|(name, _)| {
            Arc::new(Settings { local_member: name.to_string(), ..Settings::clone(settings) })
        });
        views.collect()
    }

    /// The files and directories that are left out, links followed.
    pub(super) fn excluded(&self) -> Vec<PathBuf> {
        let paths = self.excluded.iter().map(|path| fs::canonicalize(self.path(path)));
        paths.filter_map(Result::ok).collect()
    }

    /// The files of its members, or where none are named these, or all.
    pub(super) fn inputs(&self, paths: &[PathBuf]) -> Inputs {
        if self.members.is_empty() {
            let root = self.path(Path::new("."));
            let paths = if paths.is_empty() { std::slice::from_ref(&root) } else { paths };
            return Inputs::read(paths, self.excluded(), self.kustomize);
        }
        let mut all = Inputs::default();
        for (name, paths) in &self.members {
            let own: Vec<_> = paths.iter().map(|path| self.path(path)).collect();
            all.append(Inputs::read(&own, self.excluded(), self.kustomize).owned_by(name));
        }
        all
    }

    /// Which files of the set to report on, if members are named and only some paths are given.
    pub(super) fn told_of(
        &self,
        paths: &[PathBuf],
        set: &Inputs,
    ) -> anyhow::Result<Option<Vec<bool>>> {
        if self.members.is_empty() || paths.is_empty() {
            return Ok(None);
        }
        let real =
            |path: &PathBuf| fs::canonicalize(path).with_context(|| format!("{}", path.display()));
        let paths = paths.iter().map(real).collect::<anyhow::Result<Vec<_>>>()?;
        let is_below = |real: &PathBuf| paths.iter().any(|path| real.starts_with(path));
        // What is built may come from any file.
        Ok(Some(set.files.iter().map(|file| file.real.as_ref().is_none_or(is_below)).collect()))
    }

    /// A path as it is read from the working directory.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        if self.root.as_os_str().is_empty() { path.to_owned() } else { self.root.join(path) }
    }

    fn of(node: &Node<'_>) -> Result<Self, Wrong> {
        let mut repository = Self::default();
        for (key, value) in entries(node)? {
            match &*key.text {
                "members" => repository.read_members(value)?,
                "settings" => repository.read_settings(value)?,
                "rules" => {
                    for (rule, severity) in entries(value)? {
                        let known = code(&rule.text).map_err(|what| wrong(what, &rule.span))?;
                        repository.severities.insert(known, severity_of(severity)?);
                    }
                }
                "exclude" => repository.excluded = paths(value)?,
                "kustomize" => {
                    let text = scalar(value)?;
                    repository.kustomize = text.parse().map_err(|_| {
                        wrong(format!("{text:?} is not true or false"), &value.span)
                    })?;
                }
                other => {
                    let known = ["members", "settings", "rules", "exclude", "kustomize"];
                    return Err(unknown("field", other, &known, key));
                }
            }
        }
        Ok(repository)
    }

    fn read_members(&mut self, node: &Node<'_>) -> Result<(), Wrong> {
        for (name, value) in entries(node)? {
            if name.text.is_empty() {
                return Err(wrong("a member needs a name".to_owned(), &name.span));
            }
            self.members.push((name.text.as_ref().into(), paths(value)?));
        }
        Ok(())
    }

    fn read_settings(&mut self, node: &Node<'_>) -> Result<(), Wrong> {
        for (key, value) in entries(node)? {
            let Some(setting) = Setting::by_name(&key.text) else {
                let known: Vec<_> = SETTINGS.iter().map(Setting::name).collect();
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                return Err(unknown("setting", &key.text, &known, key));
            };
            let text = match &value.value {
                Value::List(items) => {
                    items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(",")
                }
                _ => scalar(value)?.to_owned(),
            };
            let tried = setting.set(&mut Settings::default(), &text);
            tried.map_err(|what| wrong(format!("{}: {what}", key.text), &value.span))?;
            self.settings.push((setting, text));
        }
        Ok(())
    }
}

/// The code of a rule, or of another diagnostic, by its name.
pub(super) fn code(name: &str) -> Result<&'static str, String> {
    let codes = || RULES.iter().map(|rule| rule.name).chain(CHECK_CODES.iter().map(|code| code.0));
    if let Some(code) = codes().find(|code| code.eq_ignore_ascii_case(name)) {
        return Ok(code);
    }
    let known: Vec<_> = codes().collect();
    Err(match similar(name, &known) {
        Some(meant) => format!("there is no rule {name}; did you mean {meant}?"),
        None => format!("there is no rule {name}; `isthmus rules` lists them"),
    })
}

/// The schema of the file, for editors.
pub(in crate::cli) fn schema() -> String {
    let paths = json!({
        "oneOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}},
        ],
    });
    let settings: Map<_, _> = SETTINGS.iter().map(|it| (it.name(), setting_schema(it))).collect();
    // YAML 1.1 reads off as a boolean.
    let severity = json!({"enum": ["off", "warn", "deny", false]});
    let judged = RULES.iter().map(|rule| (rule.name, rule.what));
    let rules = judged.chain(CHECK_CODES.iter().copied()).map(|(name, what)| {
        let mut rule = severity.clone();
        rule["description"] = what.into();
        (name.to_owned(), rule)
    });
    let rules: Map<_, _> = rules.collect();
    let mut excluded = paths.clone();
    excluded["description"] = "Files and directories that are not read.".into();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE,
        "description": "What isthmus check has to know of a repository.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "members": {
                "description": "The files of each cluster, by the name of the member that it is.",
                "type": "object",
                "additionalProperties": paths,
            },
            "settings": {
                "description": "The settings of isthmus; a flag or environment variable takes precedence.",
                "type": "object",
                "additionalProperties": false,
                "properties": settings,
            },
            "rules": {
                "description": "How seriously rules are taken.",
                "type": "object",
                "additionalProperties": false,
                "properties": rules,
            },
            "exclude": excluded,
            "kustomize": {
                "description": "Whether directories with a kustomization.yaml are judged as kustomize, or kubectl, builds them.",
                "type": "boolean",
                "default": false,
            },
        },
    });
    format!("{schema:#}\n")
}

fn setting_schema(setting: &Setting) -> Json {
    let mut schema = match setting.form {
        Form::Namespaces | Form::Words => {
            json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Form::Switch => json!({"type": "boolean"}),
        Form::Policy(choices) => {
            json!({"enum": choices.iter().map(|choice| choice.as_str()).collect::<Vec<_>>()})
        }
        Form::Name | Form::Duration => json!({"type": "string"}),
    };
    schema["description"] = setting.meaning().into();
    schema["default"] = match setting.form {
        Form::Switch => (setting.default() == "true").into(),
        _ => setting.default().into(),
    };
    schema
}

/// The nearest file that describes a repository, from the working directory up to the top of what
/// is under version control.
fn nearest() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let mut path = PathBuf::new();
    for directory in here.ancestors() {
        if directory.join(FILE).is_file() {
            return Some(path.join(FILE));
        }
        if directory.join(TOP).exists() {
            return None;
        }
        path.push("..");
    }
    None
}

/// What is wrong with the file, and where.
struct Wrong {
    what: String,
    line: u32,
    column: u32,
}

impl From<crate::syntax::YamlError> for Wrong {
    fn from(error: crate::syntax::YamlError) -> Self {
        wrong(error.what, &error.span)
    }
}

fn wrong(what: String, span: &crate::syntax::Span) -> Wrong {
    Wrong { what, line: span.line, column: span.column }
}

fn unknown(what: &str, name: &str, known: &[&str], key: &Key<'_>) -> Wrong {
    let told = match similar(name, known) {
        Some(meant) => format!("there is no {what} {name}; did you mean {meant}?"),
        None => format!("there is no {what} {name}; it is one of {}", known.join(", ")),
    };
    wrong(told, &key.span)
}

fn entries<'n, 'a>(node: &'n Node<'a>) -> Result<&'n [(Key<'a>, Node<'a>)], Wrong> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => Err(wrong(format!("must be a mapping, not {}", node.kind()), &node.span)),
    }
}

fn scalar<'n>(node: &'n Node<'_>) -> Result<&'n str, Wrong> {
    node.scalar().ok_or_else(|| wrong(format!("must be a string, not {}", node.kind()), &node.span))
}

/// One path or a list of them; they stay below the file.
fn paths(node: &Node<'_>) -> Result<Vec<PathBuf>, Wrong> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let path = |item| match scalar(item)? {
        "" => Err(wrong("must be a path, not empty".to_owned(), &item.span)),
        text => Ok(PathBuf::from(text)),
    };
    items.iter().map(path).collect()
}

/// How seriously a rule is taken. Where YAML reads `off` as a boolean, it is meant all the same.
fn severity_of(node: &Node<'_>) -> Result<Option<Level>, Wrong> {
    match scalar(node)? {
        "off" | "false" => Ok(None),
        "warn" => Ok(Some(Level::Warning)),
        "deny" => Ok(Some(Level::Denial)),
        other => Err(wrong(format!("{other:?} is not off, warn or deny"), &node.span)),
    }
}
