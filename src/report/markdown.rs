//! A report of `check` as Markdown, for a comment on a change.

use std::fmt::Write;

use super::diagnostic::{CheckReport, Diagnostic};
use super::printable;

/// The report as a table, and the summary.
pub fn markdown(report: &CheckReport) -> String {
    let mut text = format!("**isthmus**: {}\n", escaped(&report.summary()));
    if !report.diagnostics.is_empty() {
        text.push_str("\n| | Rule | Where | What | Remedy |\n|---|---|---|---|---|\n");
    }
    for diagnostic in &report.diagnostics {
        let place = match &diagnostic.at {
            Some(at) => format!("{}:{}", report.file(at), at.start.line),
            None => diagnostic.object.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            diagnostic.level.as_str(),
            diagnostic.code,
            escaped(&place),
            escaped(&what(diagnostic)),
            escaped(&diagnostic.remedy),
        );
    }
    text
}

fn what(diagnostic: &Diagnostic) -> String {
    let notes = diagnostic.notes();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    diagnostic.headline() + &notes
}

/// A text that neither ends a cell nor is taken as markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if matches!(c, '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '@' | '#')
        {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_as_markup() {
        assert_eq!(escaped("a|b\n<c>[d](e)"), "a\\|b\u{fffd}\\<c\\>\\[d\\](e)");
    }
}
