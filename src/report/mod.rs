//! Findings as people read them: the causes of a denial, warnings, and their sentences.

pub mod diagnostic;
pub mod github;
pub mod json;
pub mod locate;
#[cfg(feature = "serve")]
pub mod pretty;
pub mod sarif;
#[cfg(feature = "serve")]
pub mod table;

use std::borrow::Cow;

use crate::mesh::{ObjectRef, Place, Position};
use crate::review::{Reason, Verdict, Warning};
use crate::rule::Finding;
use crate::wire::Cause;

/// The longest warning the API server passes on, in characters.
const LONGEST_WARNING: usize = 256;
/// How many characters all warnings of one answer may have; the API server drops what is beyond.
const MOST_WARNING_TEXT: usize = 4096;

/// How many causes a denial lists: nobody reads more, and an answer must not grow with their number.
const MOST_CAUSES: usize = 256;

/// What is wrong and what to write instead, as one sentence without its place.
pub fn sentence(finding: &Finding) -> String {
    let position = position_words(&finding.place);
    printable(&format!("{position}{}; {} [{}]", finding.message, finding.remedy, finding.rule))
}

/// The causes of a denial, as the object `written` has them.
pub fn causes(findings: &[Finding], written: &ObjectRef) -> Vec<Cause> {
    let cause = |finding: &Finding| {
        let (field, elsewhere) = field(finding, written);
        Cause {
            reason: finding.rule,
            message: format!("{}{}", printable(&elsewhere), sentence(finding)),
            field: printable(&field),
        }
    };
    let mut causes: Vec<_> = findings.iter().take(MOST_CAUSES).map(cause).collect();
    if let Some(next) = findings.get(MOST_CAUSES) {
        let left_out = findings.len() - MOST_CAUSES;
        causes.push(Cause {
            reason: next.rule,
            message: format!("{left_out} more; `isthmus check` shows all [{}]", next.rule),
            field: next.place.path().to_owned(),
        });
    }
    causes
}

/// A denial as one text, for those who see no causes.
pub fn denial(causes: &[Cause], kind: &str, group: &str, name: &str) -> String {
    let kind = full_kind(kind, group);
    let told: Vec<_> =
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    let told = match told.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    printable(&format!("{kind} \"{name}\" is invalid: {told}"))
}

/// Why a write has to wait for others, and for how long.
pub fn delay(
    verdict: &Verdict,
    written: &ObjectRef,
    kind: &str,
    group: &str,
    name: &str,
    seconds: u64,
) -> String {
    let why = if verdict.wait.is_empty() {
        "too many writes of this user are admitted and not stored yet".to_owned()
    } else {
        let waits = verdict.wait.iter().take(MOST_CAUSES).map(|finding| {
            let (field, elsewhere) = field(finding, written);
            format!("{field}: {elsewhere}{} [{}]", finding.message, finding.rule)
        });
        let told = waits.collect::<Vec<_>>().join(", ");
        format!("it clashes with a write that was just admitted and may not be stored: {told}")
    };
    let kind = full_kind(kind, group);
    printable(&format!("{kind} \"{name}\" has to wait: {why}; try again in {seconds} s"))
}

/// The warning that what a verdict rests on is old.
pub fn outdated(what: &str, seconds: u64) -> String {
    let minutes = seconds / 60;
    let told = format!(
        "isthmus could not read {what} for {minutes} min; this was judged by what it knew before"
    );
    shortened(&told, "")
}

/// The warnings of an answer, each short enough to be passed on whole: first of all that it rests on
/// what is old, if so.
pub fn warnings(verdict: &Verdict, written: &ObjectRef, outdated: Option<String>) -> Vec<String> {
    let findings = verdict.warnings.iter().map(|warning| told_warning(warning, written));
    let notes = verdict.notes.iter().map(|(place, note)| {
        shortened(&format!("{}: {}{note}", place.path(), position_words(place)), "")
    });
    let mut warnings = Vec::new();
    let mut room = MOST_WARNING_TEXT;
    let mut left_out = 0;
    for warning in outdated.into_iter().chain(findings).chain(notes) {
        let length = warning.chars().count();
        // Room for the sentence that counts what is left out.
        if length + 64 > room {
            left_out += 1;
        } else {
            room -= length;
            warnings.push(warning);
        }
    }
    if left_out > 0 {
        warnings.push(format!("{left_out} more warnings; `isthmus check` shows all"));
    }
    warnings
}

fn full_kind(kind: &str, group: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}

fn told_warning(warning: &Warning, written: &ObjectRef) -> String {
    let finding = &warning.finding;
    let (field, elsewhere) = field(finding, written);
    let position = position_words(&finding.place);
    let end = match warning.because {
        Reason::RuleWarns => format!(" [{}]", finding.rule),
        Reason::StoodBefore => format!(" [{}, stood before]", finding.rule),
        Reason::AllowedByAnnotation => format!(" [{}, allowed by annotation]", finding.rule),
    };
    let start = format!("{field}: {elsewhere}{position}{}", finding.message);
    let full = printable(&format!("{start}; {}{end}", finding.remedy));
    if full.chars().count() <= LONGEST_WARNING { full } else { shortened(&start, &end) }
}

/// The field of the written object to look at, and the words that name the claim itself where it
/// stands in another object.
fn field<'a>(finding: &'a Finding, written: &ObjectRef) -> (Cow<'a, str>, String) {
    let here = |place: &&'a Place| *place.object == *written;
    if here(&&finding.place) {
        return (Cow::Borrowed(finding.place.path()), String::new());
    }
    let elsewhere = format!("{} of {}: ", finding.place.path(), finding.place.object);
    let blamed = finding.because.as_ref().filter(here).or(finding.against.as_ref().filter(here));
    let field = blamed.map_or(Cow::Borrowed("metadata.name"), |place| Cow::Borrowed(place.path()));
    (field, elsewhere)
}

pub(crate) fn position_words(place: &Place) -> String {
    match place.position() {
        Position::NONE => String::new(),
        Position { line, column } => format!("line {line}, column {column}: "),
    }
}

fn shortened(text: &str, end: &str) -> String {
    let text = printable(text);
    let room = LONGEST_WARNING - end.chars().count();
    if text.chars().count() <= room {
        return text + end;
    }
    let kept: String = text.chars().take(room - 1).collect();
    format!("{kept}\u{2026}{end}")
}

/// A text without control characters, which a terminal or a warning header would obey.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
