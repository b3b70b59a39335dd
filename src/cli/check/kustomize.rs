//! What kustomize makes of a directory, by the `kustomize` or `kubectl` that is installed.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::files::Inputs;

/// The programs that can build a kustomization, with their commands.
const BUILDERS: &[(&str, &str)] = &[("kustomize", "build"), ("kubectl", "kustomize")];

/// Builds a directory; what comes out is one file of the set.
pub(super) fn build(directory: &Path) -> anyhow::Result<Inputs> {
    let shown = directory.display();
    for (program, command) in BUILDERS {
        // A directory whose name begins with a dash is no flag.
        let built = Command::new(program).arg(command).arg("--").arg(directory).output();
        let output = match built {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            built => built.with_context(|| format!("{program} cannot be run"))?,
        };
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("--kustomize {shown}: {program}: {}", why.trim());
        }
        let mut inputs = Inputs::default();
        inputs.add(format!("{shown} (built)"), &output.stdout, false);
        return Ok(inputs);
    }
    bail!("--kustomize {shown}: neither kustomize nor kubectl is installed")
}
