//! `isthmus audit`: what a cluster has now, judged as one mesh.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;

use super::mesh::MeshArgs;
use super::settings::SettingsArgs;
use super::{exit_code, print, yaml};
use crate::cluster::Contents;
use crate::mesh::{Mesh, Reading};
use crate::report::diagnostic::{CheckReport, Counts, Diagnostic};
use crate::report::json::json;
use crate::report::policy_report::{Api, policy_reports};
use crate::report::sarif::sarif;
use crate::report::table::table;
use crate::review::review_all;
use crate::settings::Settings;

/// How wide a table is that no terminal shows, in characters.
const WIDTH: usize = 100;
/// How narrow and how wide one becomes on a terminal: longer lines are hard to read.
const WIDTHS: (usize, usize) = (60, 120);
/// The name of the policy reports that an audit prints.
const REPORTS: &str = "isthmus";

/// Judge everything that a cluster has now as one mesh.
///
/// Reads the cluster that the kubeconfig selects, as kubectl does, or the one that isthmus runs in.
/// With --inventory, reads only files; with --inventory and --cluster, files add what the cluster
/// does not have.
///
/// Exit status: 0 if the webhook would deny nothing, 1 if it would deny something (with --strict,
/// also if it would warn), 2 if something cannot be read or used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Exit with 1 also if there are only warnings.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: one block for each finding.
    Table,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// PolicyReports (wgpolicyk8s.io/v1alpha2), as manifests.
    PolicyReport,
    /// Reports of OpenReports (openreports.io/v1alpha1), as manifests.
    OpenReport,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(args.settings.settings());
    let contents = args.mesh.contents(&settings)?;
    let report = report(contents, settings);
    print(&mut anstream::stdout(), &args.format.of(&report))?;
    Ok(exit_code(&report, args.strict))
}

impl Format {
    /// The report in this format.
    pub(super) fn of(self, report: &CheckReport) -> String {
        match self {
            Self::Table => table(report, width()),
            Self::Json => json(report),
            Self::Sarif => sarif(report),
            Self::PolicyReport => policy(report, Api::PolicyReport),
            Self::OpenReport => policy(report, Api::OpenReport),
        }
    }
}

fn policy(report: &CheckReport, api: Api) -> String {
    yaml::stream(&policy_reports(&report.diagnostics, api, REPORTS))
}

/// Judges a mesh as if all of it were written now. Of an object that comes twice, the last one
/// counts.
fn report(contents: Contents, settings: Arc<Settings>) -> CheckReport {
    let by_object = |reading: Reading| (Arc::clone(&reading.object), reading);
    let by_object: BTreeMap<_, _> = contents.readings.into_iter().map(by_object).collect();
    let readings: Vec<_> = by_object.into_values().collect();
    let nothing = Mesh::new(Arc::clone(&settings));
    let mut mesh = Mesh::of(settings, readings.iter().cloned());
    mesh.serve_peers(contents.serves_peers);
    let verdict = review_all(&nothing, &mesh, &readings, Some(SystemTime::now().into()));
    let denials = verdict.denials.iter().map(|finding| Diagnostic::of(finding, None));
    let warnings = verdict.warnings.iter();
    let warnings = warnings.map(|it| Diagnostic::of(&it.finding, Some(it.because)));
    let notes = verdict.notes.iter().map(|(place, note)| Diagnostic::advice(place, note));
    report_of(denials.chain(warnings).chain(notes).collect(), readings.len())
}

/// What is told of so many objects, the most serious first.
pub(super) fn report_of(mut diagnostics: Vec<Diagnostic>, objects: usize) -> CheckReport {
    diagnostics.sort_by(|a, b| {
        let key = |it: &Diagnostic| (it.level, it.code, it.object.clone());
        key(a).cmp(&key(b))
    });
    let counts = Counts { objects, ..Counts::default() };
    CheckReport { diagnostics, counts, ..CheckReport::default() }
}

fn width() -> usize {
    let (narrow, wide) = WIDTHS;
    terminal_size::terminal_size_of(std::io::stdout())
        .map_or(WIDTH, |(width, _)| usize::from(width.0).clamp(narrow, wide))
}
