//! What is printed of a report, and how.

use clap::ValueEnum;

use super::repository::code;
use crate::cli::print;
use crate::report::diagnostic::CheckReport;
use crate::report::github::github;
use crate::report::json::json;
use crate::report::junit::{junit, tap};
use crate::report::markdown::markdown;
use crate::report::pretty::{Amount, pretty};
use crate::report::sarif::sarif;

/// Flags that choose what is printed.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// When to use colours.
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Report this rule only; may be repeated.
    #[arg(long = "rule", value_name = "RULE", value_parser = code)]
    only: Vec<&'static str>,
    /// Do not report this rule; may be repeated.
    #[arg(long, value_name = "RULE", value_parser = code)]
    skip: Vec<&'static str>,
    /// Show at most so many findings; the summary counts all.
    #[arg(long, value_name = "COUNT")]
    max: Option<usize>,
    /// Show denials and the summary only.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show findings that are alike one by one, and what is not judged and why.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: each finding next to the lines that it is about.
    Pretty,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
    /// A table, for a comment on a change.
    Markdown,
    /// JUnit XML: a test for each file, which fails if something in it is denied.
    Junit,
    /// TAP 14: the same.
    Tap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

impl OutputArgs {
    /// Uses colours as it is asked for, from now on.
    pub(super) fn color(&self) {
        match self.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
    }

    /// Leaves out rules that are not asked for.
    pub(super) fn select(&self, report: &mut CheckReport) {
        report.select(&self.only, &self.skip);
    }

    /// Prints a report; after the fixed text of standard input it goes to standard error.
    pub(super) fn show(
        &self,
        report: &CheckReport,
        fixed_stdin: Option<&str>,
    ) -> anyhow::Result<()> {
        let amount = Amount { is_quiet: self.quiet, is_verbose: self.verbose, most: self.max };
        let text = match self.format {
            Format::Pretty => pretty(report, amount),
            Format::Json => json(report),
            Format::Sarif => sarif(report),
            Format::Github => github(report),
            Format::Markdown => markdown(report),
            Format::Junit => junit(report),
            Format::Tap => tap(report),
        };
        if let Some(fixed) = fixed_stdin {
            print(&mut std::io::stdout(), fixed)?;
            print(&mut anstream::stderr(), &text)?;
        } else {
            print(&mut anstream::stdout(), &text)?;
        }
        // The other formats end with it.
        if fixed_stdin.is_none()
            && matches!(self.format, Format::Json | Format::Sarif | Format::Junit)
        {
            anstream::eprintln!("{}", report.summary());
        }
        Ok(())
    }
}
