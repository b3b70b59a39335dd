//! `isthmus map`: the mesh as a page, a picture or a text.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;

use super::check::RepositoryArgs;
use super::mesh::MeshArgs;
use super::print;
use super::settings::SettingsArgs;
use crate::map::{Survey, html, mermaid, svg, text};
use crate::mesh::Mesh;
use crate::report::diagnostic::Level;
use crate::rule::Severity;

/// Show the mesh: members, networks, subnets, who lists whom, and what clashes.
///
/// Reads files and directories, or the clusters of a repository as `isthmus check` does; without
/// either, the mesh is read as `isthmus audit` does.
///
/// Exit status: 0 if the mesh is shown, whatever is wrong with it, 2 if something cannot be read or
/// used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and directories that describe the mesh; `-` is standard input.
    #[arg(value_name = "PATH", conflicts_with_all = ["members", "inventory", "cluster", "kubeconfig", "context"])]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal.
    Text,
    /// A page in one file that requests nothing from elsewhere.
    Html,
    /// A picture.
    Svg,
    /// A flowchart of Mermaid.
    Mermaid,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut survey = Survey::at(Some(SystemTime::now().into()));
    let severities = if args.mesh.is_given() {
        None
    } else {
        args.repository.meshes(&args.paths, &args.settings, |mesh| survey.add(mesh))?
    };
    if let Some(severities) = severities {
        let severity = |level| match level {
            Level::Denial => Severity::Deny,
            Level::Warning | Level::Note => Severity::Warn,
        };
        let graded = severities.into_iter().map(|(rule, level)| (rule, level.map(severity)));
        survey.grade(&graded.collect());
    } else {
        let settings = Arc::new(args.settings.settings());
        let contents = args.mesh.contents(&settings)?;
        let mut mesh = Mesh::of(settings, contents.readings);
        mesh.serve_peers(contents.serves_peers);
        survey.add(&mesh);
    }
    let map = survey.map();
    let form = match args.format {
        Format::Text => text,
        Format::Html => html,
        Format::Svg => svg,
        Format::Mermaid => mermaid,
    };
    print(&mut anstream::stdout(), &form(&map))?;
    Ok(ExitCode::SUCCESS)
}
