//! Findings as people read them: the causes of a denial, warnings, and their sentences.

pub mod diagnostic;
pub mod github;
pub mod json;
pub mod junit;
pub mod locate;
pub mod markdown;
pub mod policy_report;
#[cfg(feature = "serve")]
pub mod pretty;
pub mod sarif;
#[cfg(feature = "serve")]
pub mod table;

use crate::ledger::Why;
use crate::mesh::{ObjectRef, Origin, Place};
use crate::review::{Delay, Reason, Verdict, Warning};
use crate::rule::Finding;
use crate::syntax::{Path, Position};
use crate::wire::Cause;

/// The longest warning the API server passes on, in characters.
const LONGEST_WARNING: usize = 256;
/// How many characters of a path, and of what is wrong, a warning keeps at least.
const SHORTEST_PART: usize = 60;
/// How many bytes of what is wrong are left at least where it is cut off at the end of a word.
const SHORTEST_START: usize = 20;
/// How many characters all warnings of one answer may have; the API server drops what is beyond.
const MOST_WARNING_TEXT: usize = 4096;

/// How many causes a denial lists: nobody reads more, and the response must stay small.
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
            field: printable(&field.unwrap_or(&Path::NAME).to_string()),
        }
    };
    let mut causes: Vec<_> = findings.iter().take(MOST_CAUSES).map(cause).collect();
    if let Some(next) = findings.get(MOST_CAUSES) {
        let left_out = findings.len() - MOST_CAUSES;
        causes.push(Cause {
            reason: next.rule,
            message: format!("{left_out} more; `isthmus check` lists all [{}]", next.rule),
            field: next.place.path().to_string(),
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
    delay: &Delay,
    written: &ObjectRef,
    kind: &str,
    group: &str,
    name: &str,
    seconds: u64,
) -> String {
    let findings = delay.findings.iter().take(MOST_CAUSES).map(|finding| {
        let (field, elsewhere) = field(finding, written);
        let (message, rule) = (&finding.message, finding.rule);
        format!("{}: {elsewhere}{message} [{rule}]", field.unwrap_or(&Path::NAME))
    });
    let told = findings.collect::<Vec<_>>().join(", ");
    let is_pending = |place: &Place| place.object.origin == Origin::Pending;
    let clashes = delay.findings.iter().any(|finding| {
        is_pending(&finding.place) || finding.against.as_ref().is_some_and(is_pending)
    });
    let why = match delay.wait.why {
        Why::Pending if clashes => {
            format!("it clashes with a write that was just admitted and may not be stored: {told}")
        }
        Why::Pending => format!(
            "a write that was just admitted decides, if it is stored, whether this clash remains: {told}"
        ),
        Why::Many => {
            "it depends on too many writes that are admitted and not stored yet".to_owned()
        }
        Why::Opaque => "a write was just admitted that may clash with it".to_owned(),
        Why::Crowded => "too many writes of this user are admitted and not stored yet".to_owned(),
        Why::Full => "too many writes are admitted and not stored yet".to_owned(),
        Why::Quarantine => {
            "the ledger is new or was lost, so writes may have been admitted that it does not have"
                .to_owned()
        }
        Why::Outdated => "the object has changed meanwhile".to_owned(),
        Why::Busy => "other writes were entered in the ledger first".to_owned(),
        Why::Unusable => delay.fault.as_deref().unwrap_or_default().to_owned(),
    };
    let kind = full_kind(kind, group);
    printable(&format!("{kind} \"{name}\" has to wait: {why}; try again in {seconds} s"))
}

/// The warning that what a verdict rests on is old.
pub fn outdated(what: &str, seconds: u64) -> String {
    let minutes = seconds / 60;
    let told = format!(
        "isthmus could not read {what} for {minutes} min; this verdict rests on its last known state"
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
        let warnings_left_out = if left_out == 1 { "warning" } else { "warnings" };
        warnings.push(format!("{left_out} more {warnings_left_out}; `isthmus check` lists all"));
    }
    warnings
}

fn full_kind(kind: &str, group: &str) -> String {
    if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") }
}

/// A denial that is only warned of, because nothing is enforced.
pub fn not_enforced(denial: &str) -> String {
    shortened(denial, " (denied once enforced)")
}

fn told_warning(warning: &Warning, written: &ObjectRef) -> String {
    let finding = &warning.finding;
    let (field, elsewhere) = field(finding, written);
    // Of an object that is not at hand, the line would take the room of what is wrong.
    let position =
        if elsewhere.is_empty() { position_words(&finding.place) } else { String::new() };
    let end = match warning.because {
        Reason::RuleWarns => format!(" [{}]", finding.rule),
        Reason::StoodBefore => format!(" [{}, existed before]", finding.rule),
        Reason::AllowedByAnnotation => format!(" [{}, allowed by annotation]", finding.rule),
        Reason::Rendered => format!(" [{}, rendered by an operator]", finding.rule),
        Reason::Replaces => format!(" [{}, replaced by annotation]", finding.rule),
        Reason::Terminating => format!(" [{}, being deleted]", finding.rule),
        Reason::NotEnforced => format!(" [{}, denied once enforced]", finding.rule),
    };
    let field = field.map_or_else(String::new, |field| format!("{field}: "));
    let message = format!("{elsewhere}{position}{}", finding.message);
    fitted(&field, &message, &format!("; {}", finding.remedy), &end)
}

/// A warning that is short enough to be passed on. What to write is kept: the middle of a long path
/// goes first, then the end of what is wrong. The `end`, with the rule, is always there.
fn fitted(field: &str, message: &str, remedy: &str, end: &str) -> String {
    let beyond = |texts: [&str; 3]| {
        let length: usize = texts.iter().chain([&end]).map(|text| text.chars().count()).sum();
        length.saturating_sub(LONGEST_WARNING)
    };
    let field = without_middle(field, beyond([field, message, remedy]));
    let length = message.chars().count();
    // One of several remedies rather than most of what is wrong.
    let is_heard = |remedy: &str| beyond([&field, message, remedy]) < length / 3;
    let remedy = match remedy.rsplit_once("; or") {
        Some((first, _)) if !is_heard(remedy) => first,
        _ => remedy,
    };
    let cut = beyond([&field, message, remedy]);
    let kept = length.saturating_sub(cut + 1).max(SHORTEST_PART);
    let message = if cut == 0 { message.to_owned() } else { cut_off(message, kept) };
    shortened(&format!("{field}{message}{remedy}"), end)
}

/// A text without as many characters of its middle, as far as both ends stay recognizable.
fn without_middle(text: &str, cut: usize) -> String {
    let length = text.chars().count();
    if cut == 0 || length <= SHORTEST_PART {
        return text.to_owned();
    }
    let kept = length.saturating_sub(cut + 1).max(SHORTEST_PART);
    let end: String = text.chars().skip(length - kept / 2).collect();
    clipped_to(text, kept - kept / 2) + &end
}

/// The beginning of a sentence, up to the end of a word and without half a parenthesis: half an
/// address or name reads as another one.
fn cut_off(text: &str, kept: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(kept) else { return text.to_owned() };
    let whole = &text[..end];
    let words = match whole.rfind(' ') {
        Some(word) if word >= SHORTEST_START && !text[end..].starts_with(' ') => &whole[..word],
        _ => whole,
    };
    let closed = match words.rfind(" (") {
        Some(open) if open >= SHORTEST_START && !words[open..].contains(')') => &words[..open],
        _ => words,
    };
    format!("{}\u{2026}", closed.trim_end_matches([' ', ',', ':', ';']))
}

fn clipped_to(text: &str, kept: usize) -> String {
    match text.char_indices().nth(kept) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// The field of the written object to look at, if it has one, and the words that name the claim
/// itself where it is in another object.
fn field<'a>(finding: &'a Finding, written: &ObjectRef) -> (Option<&'a Path>, String) {
    let here = |place: &&'a Place| *place.object == *written;
    if here(&&finding.place) {
        return (Some(finding.place.path()), String::new());
    }
    let elsewhere = match finding.place.path() {
        path if *path == Path::NAME => finding.place.object.to_string(),
        path => format!("{path} of {}", finding.place.object),
    };
    if let Some(emptied) = finding.emptied.as_ref().filter(here) {
        let elsewhere = format!("emptying this field puts {elsewhere} into effect: ");
        return (Some(emptied.path()), elsewhere);
    }
    let elsewhere = format!("{elsewhere}: ");
    let blamed = finding.because.as_ref().filter(here).or(finding.against.as_ref().filter(here));
    (blamed.map(Place::path), elsewhere)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_warning_keeps_its_remedy() {
        const END: &str = " [SubnetOverlap, existed before]";
        let remedy = format!("; write {}", "x".repeat(80));
        for (field, message) in [(20, 60), (20, 300), (300, 60), (300, 300), (5000, 5000)] {
            let (field, message) = (format!("{}: ", "f".repeat(field)), "m".repeat(message));
            let told = fitted(&field, &message, &remedy, END);
            assert!(told.chars().count() <= LONGEST_WARNING, "{told}");
            assert!(told.ends_with(&format!("{remedy}{END}")), "{told}");
            let whole = format!("{field}{message}{remedy}{END}");
            assert_eq!(told == whole, whole.len() <= LONGEST_WARNING, "{told}");
        }
        // Half an address or half a parenthesis would read as another one.
        for (kept, told) in [
            (52, "10.0.0.0/16 overlaps pod subnet 10.0.0.0/24 of\u{2026}"),
            (40, "10.0.0.0/16 overlaps pod subnet\u{2026}"),
            (70, "10.0.0.0/16 overlaps pod subnet 10.0.0.0/24 of member \"m0\"\u{2026}"),
        ] {
            let message = "10.0.0.0/16 overlaps pod subnet 10.0.0.0/24 of member \"m0\" (ConfigMap isthmus/m0) on the same network";
            assert_eq!(cut_off(message, kept), told);
        }
        // The last of several remedies goes before most of what is wrong does.
        let told =
            fitted("f: ", &"m ".repeat(80), &format!("{remedy}; or {}", "y".repeat(60)), END);
        assert!(told.ends_with(&format!("{remedy}{END}")), "{told}");
        // Where even that is too long, the remedy is cut, and the rule stays.
        let told = fitted("f: ", "m", &"r".repeat(1000), END);
        assert_eq!(told.chars().count(), LONGEST_WARNING);
        assert!(told.ends_with(&format!("\u{2026}{END}")), "{told}");
    }
}
