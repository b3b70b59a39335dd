//! `isthmus check`: a set of manifests judged as one mesh, offline, or as a change to a cluster.

mod files;
mod report;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use self::files::{Input, Inputs};
use super::mesh::of_cluster;
use super::settings::SettingsArgs;
use super::{exit_code, print};
use crate::cluster;
use crate::document::VALUES_KIND;
use crate::report::diagnostic::CheckReport;
use crate::report::github::github;
use crate::report::json::json;
use crate::report::pretty::pretty;
use crate::report::printable;
use crate::report::sarif::sarif;

/// Judge manifests as one mesh, offline, or as a change to what a cluster has.
///
/// Reads YAML and JSON: files, directories (all .yaml, .yml and .json files in them, except hidden
/// ones), and `-` for standard input. Objects that do not describe the mesh are ignored, and so are
/// files in a directory that are not YAML, such as Helm templates.
///
/// Exit status: 0 if nothing is denied, 1 if something is denied (with --strict, also if there are
/// warnings), 2 if something cannot be read or used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and directories to judge; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Judge the files as a change to the mesh in this directory: a problem that exists there
    /// already is only a warning. Files of the directory that are also among the judged files count
    /// as judged files only, and a document without a name replaces the one in the file with the
    /// same name.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Judge the files as a change to what a cluster has: the cluster that the kubeconfig selects,
    /// as for kubectl, or the one that isthmus runs in. With --against, files of that directory add
    /// the objects that the cluster does not have.
    #[arg(long)]
    cluster: bool,
    /// The kubeconfig of the cluster.
    #[arg(long, requires = "cluster", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, requires = "cluster", value_name = "NAME")]
    context: Option<String>,
    /// Read the files as something that has no kind, each file on its own.
    #[arg(long = "as", value_enum, conflicts_with = "fix", value_name = "WHAT")]
    read_as: Option<ReadAs>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// Exit with 1 also if there are only warnings.
    #[arg(long)]
    strict: bool,
    /// Apply the defaults and normal forms of the mutating webhook to the files, and judge the
    /// result. Everything else in a file is kept byte for byte; where that is impossible, the
    /// object is left alone with a warning. For standard input, the fixed text goes to standard
    /// output and the report to standard error.
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// What files can be that have no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadAs {
    /// Helm values for the chart istio-remote.
    IstioRemoteValues,
}

impl ReadAs {
    /// The kind of the objects they are read as.
    fn kind(self) -> &'static str {
        match self {
            Self::IstioRemoteValues => VALUES_KIND,
        }
    }
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
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(args.settings.settings());
    let mut set = Inputs::read(&args.paths, &[]);
    let against = args.against.as_slice();
    let against = Inputs::read(against, &set.files);
    let errors = set.errors.iter().chain(&against.errors).cloned();
    let kind = args.read_as.map(ReadAs::kind);
    let unusable: Vec<_> =
        errors.chain(report::unusable(&set.files, &against.files, kind)).collect();
    if !unusable.is_empty() {
        for why in unusable {
            anstream::eprintln!("isthmus: {}", printable(&why));
        }
        return Ok(ExitCode::from(2));
    }
    let cluster = if args.cluster {
        let config = cluster::as_kubectl(args.kubeconfig.as_deref(), args.context.as_deref());
        Some(of_cluster(config, &settings)?)
    } else {
        None
    };
    let fixed = if args.fix { Some(write::fix_all(&mut set.files, &settings)?) } else { None };
    let stdin = set.files.iter().find(|file| file.real.is_none() && file.name == files::STDIN);
    let stdin = stdin.map(Input::whole_text);
    let not_fixed = fixed.as_ref().map(|fixed| &fixed.not_fixed);
    let mut report = report::report(set, against, cluster, &settings, kind, not_fixed);
    report.changes = fixed.map(|fixed| fixed.changes).unwrap_or_default();
    show(args, &report, stdin.as_deref().filter(|_| args.fix))?;
    Ok(exit_code(&report, args.strict))
}

fn show(args: &Args, report: &CheckReport, fixed_stdin: Option<&str>) -> anyhow::Result<()> {
    let text = match args.format {
        Format::Pretty => pretty(report),
        Format::Json => json(report),
        Format::Sarif => sarif(report),
        Format::Github => github(report),
    };
    if let Some(fixed) = fixed_stdin {
        print(&mut std::io::stdout(), fixed)?;
        print(&mut anstream::stderr(), &text)?;
    } else {
        print(&mut anstream::stdout(), &text)?;
    }
    // The other formats end with it.
    if fixed_stdin.is_none() && matches!(args.format, Format::Json | Format::Sarif) {
        anstream::eprintln!("{}", report.summary());
    }
    Ok(())
}
