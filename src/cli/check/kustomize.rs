//! What kustomize makes of a directory, by the `kustomize` or `kubectl` that is installed.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// The programs that can build a kustomization, with their commands.
const BUILDERS: &[(&str, &str)] = &[("kustomize", "build"), ("kubectl", "kustomize")];
/// What a kustomization is called.
pub(super) const FILES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a directory is one that kustomize can build.
pub(super) fn is_kustomization(directory: &Path) -> bool {
    FILES.iter().any(|file| directory.join(file).is_file())
}

/// What is made of a directory.
pub(super) fn build(directory: &Path) -> anyhow::Result<Vec<u8>> {
    for (program, command) in BUILDERS {
        // A directory whose name begins with a dash is no flag.
        let built = Command::new(program).arg(command).arg("--").arg(directory).output();
        let output = match built {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            built => built.with_context(|| format!("{program} cannot be run"))?,
        };
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{program}: {}", why.trim());
        }
        return Ok(output.stdout);
    }
    bail!("neither kustomize nor kubectl is installed")
}
