//! The text of a key into documents, as the decoder of Kubernetes that Pilot 0.8 used splits it.

use crate::document::node::{Node, Span, Value};
use crate::document::yaml::{self, YamlError};

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
    /// Reads a text, and adds to `values` how many it holds.
    pub(super) fn read(text: &'a str, values: &mut usize) -> Result<Self, YamlError> {
        if *values > yaml::MOST_IN_TEXTS {
            let what = format!(
                "not read: the keys before it hold more than {} values, aliases counted",
                yaml::MOST_IN_TEXTS
            );
            return Err(YamlError { what, span: Span::default() });
        }
        if text.trim_start().starts_with('{') {
            return json(text, values);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = yaml::texts(text, values)?;
        Ok(Self { unread: unread(text, &documents), documents, is_json: false })
    }
}

fn json<'a>(text: &'a str, values: &mut usize) -> Result<Stream<'a>, YamlError> {
    let stream = serde_json::Deserializer::from_str(text).into_iter::<Node<'a>>();
    let documents =
        stream.collect::<Result<Vec<_>, _>>().map_err(|error| not_json(text, &error))?;
    // As YAML, which JSON is too, each value has its line.
    let documents = match (documents.len(), yaml::texts(text, values)) {
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
        what: format!("not JSON, which Pilot takes it for by its first brace: {why}"),
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
            let stream = Stream::read(text, &mut 0).unwrap();
            assert_eq!(stream.documents.len(), documents, "{text:?}");
            assert_eq!((&*stream.unread, stream.is_json), (unread, is_json), "{text:?}");
        }
        let stream = Stream::read("{\n \"a\": {\"b\": 1}}", &mut 0).unwrap();
        assert_eq!(stream.documents[0].get("a").unwrap().get("b").unwrap().span.line, 2);
        let error = Stream::read("\n{a: 1}", &mut 0).unwrap_err();
        assert_eq!((error.span.line, error.span.column), (2, 2));
    }

    #[test]
    fn texts_share_what_they_may_hold() {
        let (mut values, bomb) = (0, format!("a: &a [{}]\nb: [*a, *a]\n", "1,".repeat(30_000)));
        let read = (0..9).filter_map(|_| Stream::read(&bomb, &mut values).err());
        let told: Vec<_> = read.map(|error| error.what).collect();
        let after = "not read: the keys before it hold more than 400000 values, aliases counted";
        assert_eq!(told[..2], ["more than 400000 values, aliases counted", after]);
    }
}
