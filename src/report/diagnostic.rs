//! What `isthmus check` and `isthmus audit` tell, as data that every format prints.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::locate::{Location, SourceFile};
use super::position_words;
use crate::mesh::{MemberName, ObjectRef, Place};
use crate::review::Reason;
use crate::rule::Finding;

/// Everything that is reported about a set of files, or about a cluster.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// The texts that locations point into.
    pub sources: Vec<SourceFile>,
    /// How many of them are the set; those after them are what it is held against.
    pub judged_sources: usize,
    /// The diagnostics, by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// What was written back into files.
    pub changes: Vec<FileChange>,
    /// Documents that were passed over because they are not YAML.
    pub passed_over: Vec<PassedOver>,
    /// Objects that are none of the mesh's.
    pub ignored: Vec<PassedOver>,
    /// How much was looked at.
    pub counts: Counts,
    /// Why the files cannot be one mesh, and how to say what they are.
    pub unclear: Option<String>,
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// The rule's name, or one of the [`CHECK_CODES`].
    pub code: &'static str,
    /// The member that was judged.
    pub member: Option<MemberName>,
    /// The object that it is about.
    pub object: Option<ObjectRef>,
    /// The field of the object.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub remedy: String,
    /// Why it is a warning and not a denial.
    pub because: Option<Reason>,
    /// Where to look: at the field, or in a set that is held against a mesh at what it clashes
    /// with in the set. Nothing where no file has it.
    pub at: Option<Location>,
    /// Whether `at` is not the field.
    pub is_elsewhere: bool,
    /// Whether the configuration of the repository has changed the level.
    pub is_graded: bool,
    /// The clusters that see it, where several are judged.
    pub views: Vec<MemberName>,
    /// The other places it hangs on, each with what it is.
    pub related: Vec<(&'static str, Location)>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Admission would refuse it.
    Denial,
    /// Admission would warn of it, or something in the set is not as it seems.
    Warning,
    /// How it would better be written.
    Note,
}

impl Level {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denial => "denial",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What the place is called that something clashes with.
pub const OTHER_SIDE: &str = "the other side";

/// One object stands more than once in a set of files.
pub const DEFINED_TWICE: &str = "DefinedTwice";
/// Admission would write a field otherwise, or its default.
pub const REWRITTEN: &str = "Rewritten";
/// A text would better be written otherwise.
pub const ADVICE: &str = "Advice";
/// A default could not be written back.
pub const NOT_FIXED: &str = "NotFixed";

/// A kind that isthmus does not read resembles one that it reads.
pub const UNKNOWN_KIND: &str = "UnknownKind";
/// One cluster lists another one that does not list it.
pub const NOT_MUTUAL: &str = "NotMutual";
/// Two clusters do not see each other alike.
pub const VIEWS_DIFFER: &str = "ViewsDiffer";

/// The codes besides the rules, each with its meaning.
pub const CHECK_CODES: &[(&str, &str)] = &[
    (DEFINED_TWICE, "The same object is defined more than once; the last definition counts."),
    (
        REWRITTEN,
        "The mutating webhook would write this field in its normal form, or set its default.",
    ),
    (ADVICE, "This text should be written differently; isthmus never rewrites it."),
    (NOT_FIXED, "`check --fix` could not change this field without touching anything else."),
    (UNKNOWN_KIND, "The kind is not one that isthmus reads, but resembles one."),
    (NOT_MUTUAL, "One cluster lists another as a member, but not the other way round."),
    (VIEWS_DIFFER, "Two clusters disagree on an endpoint, or on how they reach each other."),
];

/// A field that was written back into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub file: String,
    /// The line, from 1, in the file as it is now.
    pub line: u32,
    /// The object.
    pub object: ObjectRef,
    /// The field.
    pub field: String,
    /// What stood there, as JSON; nothing where the field was absent.
    pub from: Option<String>,
    /// The current value, as JSON.
    pub to: String,
}

/// A file that was not judged, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The file.
    pub file: String,
    /// Why, with the place.
    pub reason: String,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files of the set.
    pub files: usize,
    /// Those of them that hold no YAML, or by their ending no manifest.
    pub files_passed_over: usize,
    /// Objects that say something of the mesh.
    pub objects: usize,
    /// Objects that do not.
    pub objects_passed_over: usize,
    /// Objects of the cluster that the set is held against, if it is.
    pub in_cluster: Option<usize>,
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, object, field, from, to } = self;
        let from = from.as_deref().unwrap_or("absent");
        write!(f, "fixed {file}:{line}: {object}: {field}: {from} -> {to}")
    }
}

impl CheckReport {
    /// Takes rules as seriously as an operator says; nothing is not told at all.
    pub fn grade(&mut self, severities: &BTreeMap<&'static str, Option<Level>>) {
        self.diagnostics.retain_mut(|diagnostic| match severities.get(diagnostic.code) {
            None => true,
            Some(None) => false,
            Some(Some(level)) => {
                diagnostic.is_graded = diagnostic.level != *level;
                diagnostic.level = *level;
                true
            }
        });
    }

    /// Leaves out rules: all but `only`, if there are any, and those to `skip`.
    pub fn select(&mut self, only: &[&str], skip: &[&str]) {
        let is_kept =
            |code: &str| (only.is_empty() || only.contains(&code)) && !skip.contains(&code);
        self.diagnostics.retain(|diagnostic| is_kept(diagnostic.code));
    }

    /// How much each rule denies, warns of and notes.
    pub fn by_rule(&self) -> BTreeMap<&'static str, [usize; 3]> {
        let mut counts: BTreeMap<_, [usize; 3]> = BTreeMap::new();
        for diagnostic in &self.diagnostics {
            let [denials, warnings, notes] = counts.entry(diagnostic.code).or_default();
            *match diagnostic.level {
                Level::Denial => denials,
                Level::Warning => warnings,
                Level::Note => notes,
            } += 1;
        }
        counts
    }

    /// Leaves out what has no place in these sources.
    pub fn keep_sources(&mut self, kept: &[bool]) {
        let is_kept = |at: &Location| kept.get(at.source) == Some(&true);
        self.diagnostics.retain(|diagnostic| {
            let related = diagnostic.related.iter().map(|(_, at)| at);
            diagnostic.at.iter().chain(related).any(is_kept)
        });
    }

    /// The number of diagnostics of this level.
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }

    /// The name of the file a location lies in.
    pub fn file(&self, location: &Location) -> &str {
        self.sources.get(location.source).map_or("", |source| &source.name)
    }

    /// The line that ends a report: what was looked at and what came of it.
    pub fn summary(&self) -> String {
        let Counts { files, files_passed_over, objects, objects_passed_over, in_cluster } =
            self.counts;
        let against = in_cluster
            .map(|objects| format!(" against {} in the cluster", counted(objects, "object")));
        let skipped = match files_passed_over {
            0 => String::new(),
            skipped => format!(" ({skipped} skipped)"),
        };
        let ignored = match objects_passed_over {
            0 => String::new(),
            1 => " (1 more is not a mesh resource)".to_owned(),
            ignored => format!(" ({ignored} more are not mesh resources)"),
        };
        format!(
            "{}{skipped}, {} judged{ignored}{}: {}",
            counted(files, "file"),
            counted(objects, "object"),
            against.unwrap_or_default(),
            self.outcome(),
        )
    }

    /// How much is denied and warned of.
    pub fn outcome(&self) -> String {
        let denials = counted(self.count(Level::Denial), "denial");
        format!("{denials}, {}", counted(self.count(Level::Warning), "warning"))
    }
}

impl Diagnostic {
    /// Something to tell, of which no more is known yet.
    pub fn new(level: Level, code: &'static str) -> Self {
        Self {
            level,
            code,
            member: None,
            object: None,
            field: String::new(),
            message: String::new(),
            remedy: String::new(),
            because: None,
            at: None,
            is_elsewhere: false,
            is_graded: false,
            views: Vec::new(),
            related: Vec::new(),
        }
    }

    /// A finding that denies, or that is a warning for a reason; not located yet.
    pub fn of(finding: &Finding, because: Option<Reason>) -> Self {
        let level = if because.is_some() { Level::Warning } else { Level::Denial };
        let place = &finding.place;
        Self {
            member: Some(Arc::clone(&finding.member)),
            remedy: finding.remedy.clone(),
            because,
            ..Self::at(level, finding.rule, place, &finding.message)
        }
    }

    /// How something would better be written; not located yet.
    pub fn advice(place: &Place, advice: &str) -> Self {
        Self::at(Level::Note, ADVICE, place, advice)
    }

    fn at(level: Level, code: &'static str, place: &Place, message: &str) -> Self {
        Self {
            object: Some(ObjectRef::clone(&place.object)),
            field: place.path().to_string(),
            message: format!("{}{message}", position_words(place)),
            ..Self::new(level, code)
        }
    }

    /// What is wrong, and with which field; of which object where `at` does not show it.
    pub fn headline(&self) -> String {
        let mut headline = String::new();
        let is_shown = self.at.is_some() && !self.is_elsewhere;
        if let Some(object) = self.object.as_ref().filter(|_| !is_shown) {
            // Writing to a String cannot fail.
            let _ = write!(headline, "{object}: ");
        }
        if !self.field.is_empty() {
            let _ = write!(headline, "{}: ", self.field);
        }
        headline + &self.message
    }

    /// Headline and remedy as one sentence.
    pub fn sentence(&self) -> String {
        let headline = self.headline();
        if self.remedy.is_empty() { headline } else { format!("{headline}; {}", self.remedy) }
    }

    /// What else there is to know: which clusters see it, and why it is only a warning.
    pub fn notes(&self) -> Vec<String> {
        let views = match self.views.as_slice() {
            [] => None,
            views => Some(format!("in the mesh of {}", views.join(", "))),
        };
        let why = self.why_warning().filter(|_| !self.is_graded).map(str::to_owned);
        let graded = format!("isthmus.yaml makes {} a {}", self.code, self.level.as_str());
        views.into_iter().chain(why).chain(self.is_graded.then_some(graded)).collect()
    }

    /// Why a rule's finding is only a warning here, where that is not the rule's own doing.
    fn why_warning(&self) -> Option<&'static str> {
        match self.because? {
            Reason::RuleWarns => None,
            Reason::StoodBefore => Some("it existed before this change, so it is only a warning"),
            Reason::AllowedByAnnotation => Some("an annotation of the object allows it"),
            Reason::Rendered => Some("an operator renders the object, so it is only a warning"),
            Reason::Replaces => {
                Some("isthmus.dev/replaces says that one object replaces the other")
            }
            Reason::Terminating => Some("one of the two objects is being deleted"),
            Reason::NotEnforced => Some("it will be denied once `enforcement` is Deny"),
        }
    }
}

/// A number of things.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
