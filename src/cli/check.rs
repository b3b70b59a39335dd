//! `isthmus check`: a set of manifests judged as one mesh, offline, or as a change to a cluster.

mod disagreements;
mod files;
mod git;
mod kustomize;
mod output;
mod report;
mod repository;
mod unjudged;
mod views;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser};

use self::files::{Input, Inputs};
use self::git::Branch;
use self::output::OutputArgs;
pub(super) use self::repository::schema as repository_schema;
use self::repository::{Named, Repository, Severities};
use self::views::How;
use super::mesh::of_cluster;
use super::settings::SettingsArgs;
use super::{FAILED, exit_code};
use crate::cluster;
use crate::document::{ISTIOD_VALUES_KIND, VALUES_KIND};
use crate::mesh::Mesh;
use crate::report::printable;

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
    /// Files and directories to judge; `-` is standard input. Where members are named, all of
    /// their files are judged, and what is found in others than these is left out.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The files of one cluster of several, by the name of the member that it is; repeated for
    /// each. Each cluster is judged as the local one, with what the others' files tell of them.
    #[arg(long = "member", value_name = "NAME=PATH", value_parser = Named::parse, conflicts_with_all = ["cluster", "read_as"])]
    members: Vec<Named>,
    /// The file that describes the repository: members, settings, rules, and what is left out.
    /// Without it, the nearest isthmus.yaml from here up to the top of the repository.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge the files as a change to the mesh in this directory: a problem that exists there
    /// already is only a warning. Files of the directory that are also among the judged files count
    /// as judged files only, and a document without a name replaces the one in the file with the
    /// same name.
    /// With members, their paths below this directory.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Judge what the branch that is checked out changes, as a change to this revision of the Git
    /// repository: what merging it there would bring.
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["against", "cluster"])]
    against_ref: Option<String>,
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
    /// Judge what `kustomize build`, or `kubectl kustomize`, makes of this directory; may be
    /// repeated. Without DIR, of each directory with a kustomization.yaml that the paths, or the
    /// members, have.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "", value_parser = OsStringValueParser::new().map(PathBuf::from), conflicts_with_all = ["fix", "read_as"])]
    kustomize: Vec<PathBuf>,
    /// Read the files as something that has no kind, each file on its own.
    #[arg(long = "as", value_enum, conflicts_with = "fix", value_name = "WHAT")]
    read_as: Option<ReadAs>,
    #[command(flatten)]
    output: OutputArgs,
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
    /// Helm values for the chart istiod.
    IstiodValues,
}

impl ReadAs {
    /// The kind of the objects they are read as.
    fn kind(self) -> &'static str {
        match self {
            Self::IstioRemoteValues => VALUES_KIND,
            Self::IstiodValues => ISTIOD_VALUES_KIND,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.output.color();
    let mut repository = Repository::read(args.config.as_deref())?.with(&args.members);
    repository.kustomize |= args.kustomize.iter().any(|it| it.as_os_str().is_empty());
    if args.fix && repository.kustomize {
        bail!("--fix cannot change what kustomize builds, which isthmus.yaml asks for");
    }
    let settings = repository.settings(args.settings.settings(), |it| args.settings.is_given(it));
    let settings = Arc::new(settings);
    let views = repository.views(&settings);
    let (mut set, against) = inputs(args, &repository)?;
    let errors = set.errors.iter().chain(&against.errors).cloned();
    let kind = args.read_as.map(ReadAs::kind);
    let unusable: Vec<_> =
        errors.chain(report::unusable(&set.files, &against.files, kind)).collect();
    if !unusable.is_empty() {
        for why in unusable {
            anstream::eprintln!("isthmus: {}", printable(&why));
        }
        return Ok(ExitCode::from(FAILED));
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
    let told = repository.told_of(&args.paths, &set)?;
    let how = How {
        kind,
        not_fixed: fixed.as_ref().map(|fixed| &fixed.not_fixed),
        reference: args.against_ref.as_deref(),
    };
    let mut report = views::report(set, against, cluster, &views, &how, |_| {});
    report.changes = fixed.map(|fixed| fixed.changes).unwrap_or_default();
    report.grade(&repository.severities);
    args.output.select(&mut report);
    if let Some(told) = told {
        report.keep_sources(&told);
    }
    if let Some(unclear) = &report.unclear {
        // What is found in files that are not one mesh means nothing; what was written does.
        for change in &report.changes {
            anstream::eprintln!("{}", printable(&change.to_string()));
        }
        bail!("{}", printable(unclear));
    }
    args.output.show(&report, stdin.as_deref().filter(|_| args.fix))?;
    Ok(exit_code(&report, args.strict))
}

/// A repository whose mesh is looked at.
#[derive(Debug, clap::Args)]
pub(super) struct RepositoryArgs {
    /// The files of one cluster of several, by the name of the member that it is; repeated for each.
    #[arg(long = "member", value_name = "NAME=PATH", value_parser = Named::parse, conflicts_with_all = ["inventory", "cluster", "kubeconfig", "context"])]
    members: Vec<Named>,
    /// The file that describes the repository. Without it, the nearest isthmus.yaml from here up to
    /// the top of the repository.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl RepositoryArgs {
    /// Shows the mesh of each cluster that the repository, or these paths, describe. If there are any,
    /// gives back the levels of rules that differ from their own.
    pub(super) fn meshes(
        &self,
        paths: &[PathBuf],
        settings: &SettingsArgs,
        show: impl FnMut(&Mesh),
    ) -> anyhow::Result<Option<Severities>> {
        let mut repository = Repository::read(self.config.as_deref())?.with(&self.members);
        let settings =
            Arc::new(repository.settings(settings.settings(), |it| settings.is_given(it)));
        if !paths.is_empty() {
            repository.members.clear();
        } else if repository.members.is_empty() && !repository.is_found {
            return Ok(None);
        }
        let views = repository.views(&settings);
        let set = repository.inputs(paths);
        let unusable = report::unusable(&set.files, &[], None);
        if let Some(why) = set.errors.iter().chain(&unusable).next() {
            bail!("{}", printable(why));
        }
        let report = views::report(set, Inputs::default(), None, &views, &How::default(), show);
        match report.unclear {
            Some(unclear) => bail!("{}", printable(&unclear)),
            None => Ok(Some(repository.severities)),
        }
    }
}

/// The files that are judged, and those that they are held against.
fn inputs(args: &Args, repository: &Repository) -> anyhow::Result<(Inputs, Inputs)> {
    let branch = args.against_ref.as_deref().map(Branch::into).transpose()?;
    let (excluded, builds) = (repository.excluded(), repository.kustomize);
    let named = args.kustomize.iter().filter(|directory| !directory.as_os_str().is_empty());
    let named: Vec<_> = named.cloned().collect();
    if !named.is_empty() && branch.is_some() {
        bail!("--kustomize takes no directory with --against-ref: name it as a path instead");
    }
    if !named.is_empty() && !repository.members.is_empty() {
        bail!(
            "--kustomize takes no directory where members are named: it builds theirs; write it after the paths"
        );
    }
    let (mut set, mut against) = (Inputs::default(), Inputs::default());
    if repository.members.is_empty() {
        let root = repository.path(Path::new("."));
        let paths = match args.paths.as_slice() {
            [] if !named.is_empty() => &[],
            [] if repository.is_found => std::slice::from_ref(&root),
            [] => bail!("name the files and directories to check, such as `isthmus check .`"),
            paths => paths,
        };
        set = Inputs::read(paths, excluded.clone(), builds);
        for directory in &named {
            set.build(directory);
        }
        if let Some(branch) = branch {
            against = branch.split(&mut set, paths, &excluded, builds)?;
        } else if let Some(directory) = &args.against {
            let known = set.files.iter().filter_map(|file| file.real.clone());
            against = Inputs::read(std::slice::from_ref(directory), known, builds);
        }
        return Ok((set, against));
    }
    for (name, paths) in &repository.members {
        let own: Vec<_> = paths.iter().map(|path| repository.path(path)).collect();
        let mut files = Inputs::read(&own, excluded.clone(), builds);
        if let Some(branch) = &branch {
            against.append(branch.split(&mut files, &own, &excluded, builds)?.owned_by(name));
        } else if let Some(directory) = &args.against {
            // A member may be new.
            let paths = paths.iter().map(|path| directory.join(path));
            let paths: Vec<_> = paths.filter(|path| path.exists()).collect();
            against.append(Inputs::read(&paths, [], builds).owned_by(name));
        }
        set.append(files.owned_by(name));
    }
    Ok((set, against))
}
