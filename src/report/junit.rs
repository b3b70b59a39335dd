//! A report of `check` as the result of a test run, which most CI systems show: `JUnit` XML or TAP.
//! Each file that was judged is a test, and fails if something in it is denied.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::diagnostic::{CheckReport, Diagnostic, Level};
use super::printable;

/// The report as `JUnit` XML.
pub fn junit(report: &CheckReport) -> String {
    let tests = tests(report);
    let failures = tests.values().filter(|test| test.denials().next().is_some()).count();
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", tests.len());
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"isthmus\" {counts}>\n"
    );
    for (name, test) in &tests {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "<testcase classname=\"isthmus\" name=\"{}\">", xml(name));
        for denial in test.denials() {
            let told = Test::told(report, denial);
            let _ = writeln!(
                text,
                "<failure type=\"{}\" message=\"{}\">{}</failure>",
                denial.code,
                xml(&denial.headline()),
                xml(&told)
            );
        }
        let others = test.others();
        if !others.is_empty() {
            let _ = writeln!(text, "<system-out>{}</system-out>", xml(&Test::all(report, &others)));
        }
        text.push_str("</testcase>\n");
    }
    text + "</testsuite>\n</testsuites>\n"
}

/// The report as TAP, version 14.
pub fn tap(report: &CheckReport) -> String {
    let tests = tests(report);
    let mut text = format!("TAP version 14\n1..{}\n", tests.len());
    for (number, (name, test)) in (1..).zip(&tests) {
        let denials: Vec<_> = test.denials().collect();
        let not = if denials.is_empty() { "" } else { "not " };
        let name = printable(name).replace('#', "\\#");
        let _ = writeln!(text, "{not}ok {number} - {name}");
        if !denials.is_empty() {
            // A JSON text is one of YAML.
            let message = serde_json::Value::from(Test::all(report, &denials));
            let _ = writeln!(text, "  ---\n  message: {message}\n  severity: fail\n  ...");
        }
        for line in Test::all(report, &test.others()).lines() {
            let _ = writeln!(text, "# {}", printable(line));
        }
    }
    let _ = writeln!(text, "# {}", report.summary());
    text
}

/// What is found in one file.
#[derive(Default)]
struct Test<'a>(Vec<&'a Diagnostic>);

impl<'a> Test<'a> {
    fn denials(&self) -> impl Iterator<Item = &'a Diagnostic> {
        self.0.iter().copied().filter(|diagnostic| diagnostic.level == Level::Denial)
    }

    fn others(&self) -> Vec<&'a Diagnostic> {
        self.0.iter().copied().filter(|diagnostic| diagnostic.level != Level::Denial).collect()
    }

    fn told(report: &CheckReport, diagnostic: &Diagnostic) -> String {
        let line =
            diagnostic.at.as_ref().map(|at| format!("{}:{}: ", report.file(at), at.start.line));
        format!("{}{} [{}]", line.unwrap_or_default(), diagnostic.sentence(), diagnostic.code)
    }

    fn all(report: &CheckReport, diagnostics: &[&Diagnostic]) -> String {
        let told: Vec<_> = diagnostics.iter().map(|it| Self::told(report, it)).collect();
        told.join("\n")
    }
}

/// The tests by name: the files that were judged, and the objects of a cluster that no file has.
fn tests(report: &CheckReport) -> BTreeMap<String, Test<'_>> {
    let mut tests: BTreeMap<String, Test<'_>> = BTreeMap::new();
    for source in report.sources.iter().take(report.judged_sources) {
        tests.entry(source.name.clone()).or_default();
    }
    for diagnostic in &report.diagnostics {
        let name = match (&diagnostic.at, &diagnostic.object) {
            (Some(at), _) => report.file(at).to_owned(),
            (None, Some(object)) => object.to_string(),
            (None, None) => diagnostic.code.to_owned(),
        };
        tests.entry(name).or_default().0.push(diagnostic);
    }
    tests
}

fn xml(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    let text = lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\n', "&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_an_attribute_or_an_element() {
        assert_eq!(xml("a\"b<c>&\u{1b}\nd"), "a&quot;b&lt;c&gt;&amp;\u{fffd}&#10;d");
    }
}
