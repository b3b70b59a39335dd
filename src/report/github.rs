//! A report of `check` as workflow commands, which GitHub shows beside the lines of a change.

use std::fmt::Write;

use super::diagnostic::{CheckReport, Diagnostic, Level};
use super::printable;

/// The report as one line for each diagnostic, and the summary.
pub fn github(report: &CheckReport) -> String {
    let mut text = String::new();
    for diagnostic in &report.diagnostics {
        text.push_str(&command(report, diagnostic));
        text.push('\n');
    }
    for change in &report.changes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", printable(&change.to_string()));
    }
    text.push_str(&report.summary());
    text.push('\n');
    text
}

fn command(report: &CheckReport, diagnostic: &Diagnostic) -> String {
    let name = match diagnostic.level {
        Level::Denial => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(at) = &diagnostic.at {
        properties.push(format!("file={}", property(report.file(at))));
        properties.push(format!("line={}", at.start.line));
        properties.push(format!("endLine={}", at.end.line));
        properties.push(format!("col={}", at.start.column));
        properties.push(format!("endColumn={}", at.end.column));
    }
    properties.push(format!("title={}", property(diagnostic.code)));
    let mut message = diagnostic.sentence();
    for (what, at) in &diagnostic.related {
        let _ =
            write!(message, "\n{what}: {}:{}:{}", report.file(at), at.start.line, at.start.column);
    }
    for note in diagnostic.notes() {
        let _ = write!(message, "\n{note}");
    }
    format!("::{name} {}::{}", properties.join(","), data(&message))
}

/// The escapes of a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The escapes of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_command_is_made_of() {
        assert_eq!(data("a%b\r\nc:d,e"), "a%25b%0D%0Ac:d,e");
        assert_eq!(property("a%b\r\nc:d,e"), "a%25b%0D%0Ac%3Ad%2Ce");
    }
}
