//! A report of `check` for people: each thing told beside the lines it is about.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Group, Level as Style, Origin, Renderer, Snippet, renderer::DecorStyle,
};

use super::diagnostic::{CheckReport, Diagnostic, Level};
use super::locate::Location;
use super::printable;

/// A line longer than this, in bytes, is named and not shown: a whole file may be one line.
const LONGEST_SHOWN: usize = 4096;
/// How many files that were passed over are named.
const NAMED: usize = 3;

/// The report with the codes of a colour terminal.
pub fn pretty(report: &CheckReport) -> String {
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for diagnostic in &report.diagnostics {
        text.push_str(&renderer.render(&[group(report, diagnostic)]));
        text.push_str("\n\n");
    }
    for change in &report.changes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", printable(&change.to_string()));
    }
    for passed in report.passed_over.iter().take(NAMED) {
        let line = format!("skipped {}: {}", passed.file, passed.reason);
        let _ = writeln!(text, "{}", printable(&line));
    }
    if let Some(more) = report.passed_over.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let _ = writeln!(text, "skipped {more} more; --format json lists them all");
    }
    text.push_str(&report.summary());
    text.push('\n');
    text
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
        // What follows may be a secret, and tells nobody anything as it stands.
        shown.end = at.bytes.end;
    }
    if shown.len() > LONGEST_SHOWN {
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
