//! Expected texts, each of which is a file; `UPDATE_GOLDEN=1` writes the files anew.

use std::fs;
use std::path::Path;

/// Holds a text equal to a file's.
#[track_caller]
pub(crate) fn expect(file: &Path, text: &str) {
    if let Some(difference) = difference(file, text) {
        panic!("{difference}");
    }
}

/// How a text differs from a file's, if it does.
pub(crate) fn difference(file: &Path, text: &str) -> Option<String> {
    let expected = fs::read_to_string(file).unwrap_or_default();
    if text == expected {
        return None;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, text).unwrap();
        return None;
    }
    let lines = [expected.as_str(), text].map(|text| text.lines().collect::<Vec<_>>());
    let same = lines[0].iter().zip(&lines[1]).take_while(|(a, b)| a == b).count();
    let around = |lines: &[&str]| {
        let from = same.saturating_sub(3).min(lines.len());
        lines[from..lines.len().min(same + 12)].join("\n")
    };
    Some(format!(
        "{} differs from line {}; `make golden` writes it anew\n--- expected\n{}\n--- got\n{}\n",
        file.display(),
        same + 1,
        around(&lines[0]),
        around(&lines[1])
    ))
}
