//! `isthmus explain`: the rule, or the code of `check`, that a message names.

use std::process::ExitCode;

use anyhow::bail;

use super::print;
use super::rules::paragraph;
use crate::report::diagnostic::CHECK_CODES;
use crate::rule::{RULES, by_name};
use crate::value::similar;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name in brackets in a message, such as `SubnetOverlap`.
    rule: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.rule.trim_matches(['[', ']']);
    if let Some((code, what)) = CHECK_CODES.iter().find(|(code, _)| *code == name) {
        print(&mut anstream::stdout(), &format!("{code}\n  What:    {what}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(rule) = by_name(name) else {
        let codes = CHECK_CODES.iter().map(|(code, _)| *code);
        let known: Vec<_> = RULES.iter().map(|rule| rule.name).chain(codes).collect();
        match similar(name, &known) {
            Some(meant) => bail!("there is no rule {name:?}; did you mean {meant}?"),
            None => bail!("there is no rule {name:?}; `isthmus rules` lists them"),
        }
    };
    print(&mut anstream::stdout(), &paragraph(rule))?;
    Ok(ExitCode::SUCCESS)
}
