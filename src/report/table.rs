//! A report of `audit` for people: one block for each diagnostic, the most serious first.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use textwrap::{Options, wrap};

use super::diagnostic::{CheckReport, Diagnostic, Level, counted};
use super::printable;

/// The heads of the first two columns; the third is the object.
const HEADS: [&str; 2] = ["SEVERITY", "RULE"];

/// The report as a table of this many characters' width, with the codes of a colour terminal.
pub fn table(report: &CheckReport, width: usize) -> String {
    let mut text = String::new();
    let rules = report.diagnostics.iter().map(|told| told.code.len());
    let columns = HEADS.map(str::len);
    let columns = [columns[0], rules.fold(columns[1], usize::max)];
    if !report.diagnostics.is_empty() {
        let [severity, rule] = columns;
        let head = format!("{:severity$}  {:rule$}  OBJECT", HEADS[0], HEADS[1]);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", styled(&head, Style::new().bold()));
    }
    for told in &report.diagnostics {
        block(&mut text, told, columns, width);
        text.push('\n');
    }
    let objects = counted(report.counts.objects, "object");
    let _ = writeln!(text, "{objects} judged: {}", report.outcome());
    text
}

fn block(text: &mut String, told: &Diagnostic, columns: [usize; 2], width: usize) {
    let [severity, rule] = columns;
    let (word, color) = match told.level {
        Level::Denial => ("deny", AnsiColor::Red),
        Level::Warning => ("warn", AnsiColor::Yellow),
        Level::Note => ("note", AnsiColor::Cyan),
    };
    let word = styled(&format!("{word:severity$}"), color.on_default().bold());
    let object = told.object.as_ref().map(ToString::to_string).unwrap_or_default();
    let line = format!("{word}  {:rule$}  {}", told.code, printable(&object));
    let _ = writeln!(text, "{}", line.trim_end());
    let field = if told.field.is_empty() { String::new() } else { format!("{}: ", told.field) };
    let indent = " ".repeat(severity + 2);
    let remedy = format!("{indent}help: ");
    let further = " ".repeat(remedy.len());
    let mut paragraph = |words: &str, first: &str, next: &str| {
        // A path or a subnet is copied whole or not at all.
        let options = Options::new(width)
            .initial_indent(first)
            .subsequent_indent(next)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in wrap(&printable(words), options) {
            let _ = writeln!(text, "{line}");
        }
    };
    paragraph(&format!("{field}{}", told.message), &indent, &indent);
    if !told.remedy.is_empty() {
        paragraph(&told.remedy, &remedy, &further);
    }
    for note in told.notes() {
        paragraph(&note, &format!("{indent}note: "), &further);
    }
}

fn styled(words: &str, style: Style) -> String {
    format!("{style}{words}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::diagnostic::Counts;

    #[test]
    fn breaks_lines_between_words_only() {
        let told = Diagnostic {
            field: "spec".to_owned(),
            message: "some words and a-word-that-is-wider-than-all-of-it\u{1b}".to_owned(),
            remedy: "write other words".to_owned(),
            ..Diagnostic::new(Level::Denial, "Rule")
        };
        let counts = Counts { objects: 1, ..Counts::default() };
        let report = CheckReport { diagnostics: vec![told], counts, ..CheckReport::default() };
        let plain = anstream::adapter::strip_str(&table(&report, 30)).to_string();
        let expected = "\
SEVERITY  RULE  OBJECT
deny      Rule
          spec: some words and
          a-word-that-is-wider-than-all-of-it\u{fffd}
          help: write other
                words

1 object judged: 1 denial, 0 warnings
";
        assert_eq!(plain, expected);
    }
}
