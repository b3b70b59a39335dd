//! A map as one SVG picture, and the pictures of a page.

use std::fmt::Write;

use super::Map;
use super::layout::{Item, Picture, WIDTH, pictures};

/// How everything looks that pictures show, light and dark.
pub(super) const STYLE: &str = include_str!("picture.css");

/// The hatches of what clashes: it does not show by colour alone.
const PATTERNS: &str = "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><path class=\"hatch\" d=\"M0 0V6\"/></pattern></defs>";

/// The space above, below and beside the pictures.
const MARGIN: f64 = 16.0;
/// The height of a heading.
const HEADING: f64 = 34.0;

/// The map as one picture that needs nothing else.
pub fn svg(map: &Map) -> String {
    let pictures = pictures(map);
    let heights = pictures.iter().map(|picture| picture.height + HEADING);
    let legend = legend();
    let height = heights.sum::<f64>() + legend.height + HEADING + 2.0 * MARGIN;
    let width = WIDTH + 2.0 * MARGIN;
    let summary = escaped(&map.summary());
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height:.0}\" viewBox=\"0 0 {width} {height:.0}\" role=\"img\" aria-label=\"A mesh: {summary}\">\n<style>\n{STYLE}</style>\n{PATTERNS}\n<rect class=\"ground\" width=\"{width}\" height=\"{height:.0}\"/>\n<g transform=\"translate({MARGIN} {MARGIN})\">\n<text class=\"title\" x=\"0\" y=\"18\">{summary}</text>\n"
    );
    let mut y = HEADING;
    for picture in std::iter::once(legend).chain(pictures) {
        if !picture.name.is_empty() {
            let at = y + 20.0;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "<text class=\"title\" x=\"0\" y=\"{at:.0}\">{}</text>",
                escaped(&picture.name)
            );
            y += HEADING;
        }
        let _ = writeln!(text, "<g transform=\"translate(0 {y:.1})\">{}</g>", items(&picture));
        y += picture.height;
    }
    text + "</g>\n</svg>\n"
}

/// One picture of a page, which has the style and the patterns.
pub(super) fn part(picture: &Picture) -> String {
    let height = picture.height;
    format!(
        "<svg width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>",
        escaped(&picture.told),
        items(picture)
    )
}

/// The patterns that the pictures of a page share.
pub(super) fn patterns() -> String {
    format!("<svg width=\"0\" height=\"0\" aria-hidden=\"true\">{PATTERNS}</svg>")
}

/// What the colours and marks mean.
pub(super) fn legend() -> Picture {
    let kinds = [
        ("pod sound", "", "pods"),
        ("service sound", "", "services"),
        ("both sound", "", "pods and services"),
        ("pod warned", "!", "warned"),
        ("pod denied", "\u{2715}", "denied"),
        ("member own", "", "a cluster that this is the view of"),
        ("member described", "", "described, not joined"),
    ];
    let mut x = 0.5;
    let mut items = Vec::new();
    for (class, mark, text) in kinds {
        let (label, text) = (mark.to_owned(), text.to_owned());
        let next = x + 42.0 + 6.4 * f64::from(u32::try_from(text.len()).unwrap_or(0));
        let class = class.to_owned();
        let title = String::new();
        items.push(Item::Box { x, y: 1.0, width: 20.0, height: 14.0, class, label, title });
        items.push(Item::Text { x: x + 25.0, y: 12.0, class: "key", text });
        x = next;
    }
    let told = "Pods are blue, services green, both violet; what is denied is hatched and marked \
        with a cross, what is warned of has a thick edge and an exclamation mark";
    Picture { name: String::new(), told: told.to_owned(), height: 22.0, items }
}

fn items(picture: &Picture) -> String {
    let mut text = String::new();
    for item in &picture.items {
        // Writing to a String cannot fail.
        let _ = match item {
            Item::Text { x, y, class, text: words } => writeln!(
                text,
                "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
                escaped(words)
            ),
            Item::Box { x, y, width, height, class, label, title } => {
                let frame = format!(
                    "x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\""
                );
                let _ = write!(text, "<g class=\"{class}\">");
                if !title.is_empty() {
                    let _ = write!(text, "<title>{}</title>", escaped(title));
                }
                let _ = write!(text, "<rect {frame}/>");
                if class.contains("denied") {
                    let _ = write!(text, "<rect class=\"over\" {frame}/>");
                }
                if !label.is_empty() {
                    let (x, y) = (x + width / 2.0, y + height / 2.0 + 4.0);
                    let label = escaped(label);
                    let _ = write!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>");
                }
                writeln!(text, "</g>")
            }
        };
    }
    text
}

/// A text that ends no attribute and no element, whatever it is of, and that turns no other text
/// round: the characters that XML does not have, and those that change the direction of what comes
/// after them, are replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{fffe}'
            | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
