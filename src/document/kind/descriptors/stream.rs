//! The text of a key into documents, as the decoder of Kubernetes that Pilot 0.8 used splits it.

use serde::de::DeserializeSeed;

use crate::budget::Budget;
use crate::syntax::{Node, Span, Value, Within};
use crate::syntax::{YamlError, yaml_texts};

/// The documents of a text.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    /// All of them, empty ones included.
    pub(super) documents: Vec<Node<'a>>,
    /// Which of them Pilot never sees.
    pub(super) unread: Vec<usize>,
    /// Whether Pilot takes the text for JSON, in which it forgives less.
    pub(super) is_json: bool,
}

impl<'a> Stream<'a> {
    /// Reads a text, as far as the budget goes that the texts of an object share.
    pub(super) fn read(text: &'a str, budget: &Budget<'_>) -> Result<Self, YamlError> {
        if let Some(end) = budget.end() {
            let what = format!("not read: the keys before it contain {end}");
            return Err(YamlError { what, span: Span::default() });
        }
        if text.trim_start().starts_with('{') {
            return json(text, budget);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = yaml_texts(text, budget)?;
        Ok(Self { unread: unread(text, &documents), documents, is_json: false })
    }
}

fn json<'a>(text: &'a str, budget: &Budget<'_>) -> Result<Stream<'a>, YamlError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut documents = Vec::new();
    while deserializer.end().is_err() {
        let document = Within(budget).deserialize(&mut deserializer);
        documents.push(document.map_err(|error| not_json(text, &error))?);
    }
    // As YAML, which JSON is too, each value has its line.
    let documents = match (documents.len(), yaml_texts(text, budget)) {
        (1, Ok(placed)) if placed.len() == 1 => placed,
        _ => documents,
    };
    Ok(Stream { documents, unread: Vec::new(), is_json: true })
}

fn not_json(text: &str, error: &serde_json::Error) -> YamlError {
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
    let column = u32::try_from(error.column()).unwrap_or(u32::MAX).max(1);
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    let before = text.lines().take(error.line().saturating_sub(1)).map(|line| line.len() + 1);
    let at = (before.sum::<usize>() + error.column().saturating_sub(1)).min(text.len());
    YamlError {
        what: format!(
            "not JSON, although it begins with a brace, so that Pilot reads it as JSON: {why}"
        ),
        span: Span { line, column, bytes: at..at },
    }
}

/// Where nothing but `---` stands on a line, the decoder splits the text; of each part it reads
/// one document.
fn unread(text: &str, documents: &[Node<'_>]) -> Vec<usize> {
    let mut splits = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty()) {
            splits.push(at);
        }
        at += line.len();
    }
    let mut unread = Vec::new();
    let mut last = None;
    for (index, document) in documents.iter().enumerate() {
        if document.value == Value::Null {
            continue;
        }
        let part = splits.partition_point(|split| *split <= document.span.bytes.start);
        if last == Some(part) {
            unread.push(index);
        }
        last = Some(part);
    }
    unread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_decoder_reads() {
        for (text, documents, unread, is_json) in [
            ("a: 1\n---\nb: 2\n--- \r\nc: 3\n", 3, &[][..], false),
            ("--- # first\na: 1\n---\nb: 2\n", 2, &[], false),
            ("a: 1\n--- # lost\nb: 2\n--- {c: 3}\n", 3, &[1, 2], false),
            ("a: 1\n...\n---\nb: 2\n", 2, &[], false),
            ("# nothing\n---\n---\n", 2, &[], false),
            ("", 0, &[], false),
            (" {\"a\": 1}\n{\"b\": 2}", 2, &[], true),
            ("--- {a: 1}\n", 1, &[], false),
        ] {
            let budget = Budget::of(1000);
            let stream = Stream::read(text, &budget).unwrap();
            assert_eq!(stream.documents.len(), documents, "{text:?}");
            assert_eq!((&*stream.unread, stream.is_json), (unread, is_json), "{text:?}");
        }
        let budget = Budget::of(1000);
        let stream = Stream::read("{\n \"a\": {\"b\": 1}}", &budget).unwrap();
        assert_eq!(stream.documents[0].get("a").unwrap().get("b").unwrap().span.line, 2);
        let error = Stream::read("\n{a: 1}", &budget).unwrap_err();
        assert_eq!((error.span.line, error.span.column), (2, 2));
    }

    #[test]
    fn texts_share_what_they_may_hold() {
        let bomb = format!("a: &a [{}]\nb: [*a, *a]\n", "1,".repeat(10_000));
        let budget = Budget::of(100_000);
        let read = (0..9).filter_map(|_| Stream::read(&bomb, &budget).err());
        let told: Vec<_> = read.map(|error| error.what).collect();
        let after = "not read: the keys before it contain more than 100000 values, aliases counted";
        assert_eq!(told[..2], ["more than 100000 values, aliases counted", after]);
    }
}
