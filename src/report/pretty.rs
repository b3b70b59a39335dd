//! A report of `check` for people: each diagnostic next to the lines that it is about.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Group, Level as Style, Origin, Renderer, Snippet, renderer::DecorStyle,
};

use super::diagnostic::{CheckReport, Diagnostic, Level, counted};
use super::locate::Location;
use super::printable;

/// A line longer than this, in bytes, is named and not shown: a whole file may be one line.
const LONGEST_SHOWN: usize = 4096;
/// How much of what was passed over is named.
const NAMED: usize = 5;
/// More findings than this are summed up by rule.
const MANY: usize = 20;

/// Of more findings that are alike than this, one is shown and the others are counted.
const ALIKE: usize = 5;
/// What a message ends with where one of a few findings stands for more.
const AND_MORE: &str = ", and there are more overlaps";

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    /// Denials only, and the summary.
    pub is_quiet: bool,
    /// All that is alike, and all that is not judged.
    pub is_verbose: bool,
    /// At most so many findings.
    pub most: Option<usize>,
}

/// The report with the codes of a colour terminal.
pub fn pretty(report: &CheckReport, amount: Amount) -> String {
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    let is_shown = |it: &&Diagnostic| !amount.is_quiet || it.level == Level::Denial;
    let shown = || report.diagnostics.iter().filter(is_shown);
    let mut alike: HashMap<_, (usize, BTreeSet<_>)> = HashMap::new();
    for diagnostic in shown() {
        let (count, members) = alike.entry(Shape::of(diagnostic)).or_default();
        *count += 1;
        members.extend(&diagnostic.member);
    }
    let (mut folded, mut left) = (HashSet::new(), shown().count());
    for diagnostic in shown().take(amount.most.unwrap_or(usize::MAX)) {
        left -= 1;
        let shape = Shape::of(diagnostic);
        let alike = alike.get(&shape).filter(|(count, _)| *count > ALIKE && !amount.is_verbose);
        if alike.is_some() && !folded.insert(shape) {
            continue;
        }
        text.push_str(&renderer.render(&[group(report, diagnostic)]));
        text.push_str("\n\n");
        if let Some((count, members)) = alike {
            let (more, members) = (count - 1, counted(members.len(), "member"));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "... and {more} more like this, of {members} [{}]\n",
                diagnostic.code
            );
        }
    }
    if amount.most.is_some() && left > 0 {
        let findings = if left == 1 { "finding" } else { "findings" };
        let _ = writeln!(text, "... and {left} more {findings}\n");
    }
    for change in &report.changes {
        let _ = writeln!(text, "{}", printable(&change.to_string()));
    }
    if !amount.is_quiet {
        skipped(&mut text, report, amount.is_verbose);
    }
    let by_rule = report.by_rule();
    if amount.is_verbose || report.diagnostics.len() > MANY {
        for (rule, [denials, warnings, notes]) in by_rule {
            let mut told = Vec::new();
            if denials + warnings > 0 {
                told.extend([counted(denials, "denial"), counted(warnings, "warning")]);
            }
            told.extend((notes > 0).then(|| counted(notes, "note")));
            let _ = writeln!(text, "{rule}: {}", told.join(", "));
        }
    }
    text.push_str(&report.summary());
    text.push('\n');
    text
}

/// Names what was not judged.
fn skipped(text: &mut String, report: &CheckReport, is_verbose: bool) {
    let named = if is_verbose { usize::MAX } else { NAMED };
    for passed in report.passed_over.iter().take(named) {
        let line = format!("skipped {}: {}", passed.file, passed.reason);
        let _ = writeln!(text, "{}", printable(&line));
    }
    if let Some(more) = report.passed_over.len().checked_sub(named).filter(|more| *more > 0) {
        let _ = writeln!(text, "skipped {more} more; --verbose lists them all");
    }
    for ignored in report.ignored.iter().filter(|_| is_verbose) {
        let line = format!("ignored {}: {}", ignored.file, ignored.reason);
        let _ = writeln!(text, "{}", printable(&line));
    }
}

/// What makes findings alike: everything but the names of members and objects.
#[derive(PartialEq, Eq, Hash)]
struct Shape(Level, &'static str, String);

impl Shape {
    fn of(diagnostic: &Diagnostic) -> Self {
        let mut words = String::new();
        let mut outer = true;
        let message = diagnostic.message.trim_end_matches(AND_MORE);
        for part in message.split(['"', '(', ')']) {
            if outer {
                words.push_str(part);
            }
            outer = !outer;
        }
        Self(diagnostic.level, diagnostic.code, words)
    }
}

fn group<'a>(report: &'a CheckReport, diagnostic: &'a Diagnostic) -> Group<'a> {
    let style = match diagnostic.level {
        Level::Denial => Style::ERROR,
        Level::Warning => Style::WARNING,
        Level::Note => Style::NOTE,
    };
    let title = style.primary_title(printable(&diagnostic.headline())).id(diagnostic.code);
    let mut group = Group::with_title(title);
    if let Some(at) = &diagnostic.at {
        group = shown(group, report, at, AnnotationKind::Primary, "");
    }
    for (what, at) in &diagnostic.related {
        group = shown(group, report, at, AnnotationKind::Context, what);
    }
    if !diagnostic.remedy.is_empty() {
        group = group.element(Style::HELP.message(printable(&diagnostic.remedy)));
    }
    for note in diagnostic.notes() {
        group = group.element(Style::NOTE.message(printable(&note)));
    }
    group
}

fn shown<'a>(
    group: Group<'a>,
    report: &'a CheckReport,
    at: &Location,
    kind: AnnotationKind,
    label: &'a str,
) -> Group<'a> {
    let file = printable(report.file(at));
    let Some(source) = report.sources.get(at.source) else { return group };
    let line = usize::try_from(at.start.line).unwrap_or(usize::MAX);
    let mut shown = source.line_of(at.bytes.start);
    if at.is_carrier {
        // What follows may be a secret, and helps no reader.
        shown.end = at.bytes.end;
    }
    if at.is_hidden || shown.len() > LONGEST_SHOWN {
        let column = usize::try_from(at.start.column).unwrap_or(usize::MAX);
        return group.element(Origin::path(file).line(line).char_column(column));
    }
    let text = source.text().get(shown.clone()).unwrap_or_default().trim_end_matches('\n');
    let (mut source, bytes) = cleaned(text, &at.bytes, shown.start);
    if at.is_carrier {
        source.push_str(": ...");
    }
    let mut annotation = kind.span(bytes);
    if !label.is_empty() {
        annotation = annotation.label(label);
    }
    group.element(Snippet::source(source).path(file).line_start(line).annotation(annotation))
}

/// A line without control characters, and the bytes that are meant within it.
fn cleaned(line: &str, bytes: &Range<usize>, start: usize) -> (String, Range<usize>) {
    let clean = |text: &str| -> String {
        let kept = text.chars().filter(|c| *c != '\r');
        kept.map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
    };
    let part = |range: Range<usize>| clean(line.get(range).unwrap_or_default());
    let (from, to) = (bytes.start - start, bytes.end - start);
    let mut text = part(0..from);
    let from_clean = text.len();
    text.push_str(&part(from..to));
    let to_clean = text.len();
    text.push_str(&part(to..line.len()));
    (text, from_clean..to_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_control_characters_from_the_terminal() {
        let line = "a\u{1b}b\u{9b}c\td\r";
        let (text, bytes) = cleaned(line, &(13..15), 10);
        assert_eq!(text, "a\u{fffd}b\u{fffd}c\td");
        assert_eq!(&text[bytes], "\u{fffd}");
    }
}
