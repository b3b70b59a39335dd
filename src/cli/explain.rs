//! `isthmus explain`: the rule that a message names at its end.

use std::process::ExitCode;

use anyhow::bail;

use super::print;
use super::rules::paragraph;
use crate::rule::{RULES, by_name};
use crate::value::similar;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name in brackets at the end of a message, such as `SubnetOverlap`.
    rule: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.rule.trim_matches(['[', ']']);
    let Some(rule) = by_name(name) else {
        let known: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        match similar(name, &known) {
            Some(meant) => bail!("there is no rule {name:?}; did you mean {meant}?"),
            None => bail!("there is no rule {name:?}; `isthmus rules` lists them"),
        }
    };
    print(&mut anstream::stdout(), &paragraph(rule))?;
    Ok(ExitCode::SUCCESS)
}
