//! `isthmus rules`: the registry of rules, for people, programs and the documentation.

use std::fmt::Write;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::rule::{RULES, Rule};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One paragraph for each rule.
    Text,
    /// A list of objects with name, what, why, remedy and example.
    Json,
    /// The page `docs/rules.md`.
    Markdown,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.format {
        Format::Text => RULES.iter().map(|rule| paragraph(rule)).collect::<Vec<_>>().join("\n"),
        Format::Json => serde_json::to_string_pretty(&json())? + "\n",
        Format::Markdown => markdown(),
    };
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The page `docs/rules.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Rules\n\n<!-- Written by `isthmus rules --format markdown`; a test holds it equal. -->\n\n\
         What each rule denies or warns about, why, what to do about it, and a message as kubectl prints it. \
         `isthmus explain RULE` prints the same for one rule. \
         [How a change is judged](judgement.md) explains when a finding is denied and when it is only a warning.\n",
    );
    for rule in RULES {
        let Rule { name, what, why, remedy, example, .. } = rule;
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {name}\n\n{what}\n\n**Why.** {why}\n\n**What to do.** {remedy}\n\n```text\n{example}\n```\n"
        );
    }
    page
}

pub(super) fn paragraph(rule: &Rule) -> String {
    let Rule { name, what, why, remedy, example, .. } = rule;
    format!(
        "{name}\n  What:    {what}\n  Why:     {why}\n  Remedy:  {remedy}\n  Example: {example}\n"
    )
}

fn json() -> Vec<serde_json::Value> {
    RULES
        .iter()
        .map(|Rule { name, what, why, remedy, example, .. }| {
            serde_json::json!({
                "name": name, "what": what, "why": why, "remedy": remedy, "example": example,
            })
        })
        .collect()
}
