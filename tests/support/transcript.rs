//! What kubectl prints, word for word: each test's transcript is a file that is held equal.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::golden::expect;
use super::guarded::{Guarded, Ran};
use super::plane::Output;
use crate::support::TempDir;

/// The commands of a test and all that they printed.
pub(crate) struct Transcript {
    name: &'static str,
    text: String,
}

impl Transcript {
    /// An empty one, to be held against `tests/control_plane/transcripts/NAME.txt`.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    /// Tells the reader what comes.
    pub(crate) fn note(&mut self, note: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{gap}# {note}");
    }

    /// Runs kubectl, and takes down what it prints.
    pub(crate) fn kubectl(&mut self, cluster: &Guarded, args: &[&str], stdin: &str) -> Output {
        let output = cluster.kubectl(args, stdin);
        self.take_down(cluster, "kubectl", args, stdin, &output.stdout, &output.stderr);
        if !output.succeeded {
            self.text.push_str("exit: failure\n");
        }
        output
    }

    /// Runs kubectl with an editor that makes a change by `sed` when it opens first and leaves what
    /// it is shown from then on, and takes down all that the editor shows.
    pub(crate) fn edit(&mut self, cluster: &Guarded, change: &str, args: &[&str]) -> Output {
        const EDITOR: &str = r#"cat "$1" | sed 's/^/| /' >>shown
echo >>shown
[ -e changed ] || sed -i -f change "$1"
touch changed
"#;
        let directory = TempDir::with("editor", EDITOR);
        directory.write("change", change);
        let path = directory.path().display();
        let editor = format!("sh -c 'cd {path} && sh editor \"$1\"' editor");
        let output = cluster.plane.kubectl_editing(&editor, args, "");
        let shown = fs::read_to_string(directory.path().join("shown")).unwrap();
        let stdout = format!("{shown}{}", output.stdout);
        self.take_down(
            cluster,
            &format!("EDITOR='sed -i \"{change}\"' kubectl"),
            args,
            "",
            &stdout,
            &output.stderr,
        );
        if !output.succeeded {
            self.text.push_str("exit: failure\n");
        }
        output
    }

    /// Runs isthmus in a directory, and takes down what it prints.
    pub(crate) fn isthmus(&mut self, cluster: &Guarded, directory: &Path, args: &[&str]) -> Ran {
        let ran = cluster.run(directory, args);
        self.take_down(cluster, "isthmus", args, "", &ran.stdout, &ran.stderr);
        let _ = writeln!(self.text, "exit: {}", ran.status);
        ran
    }

    /// Takes down a command and what it printed.
    pub(crate) fn print(&mut self, command: &str, printed: &str) {
        let _ = writeln!(self.text, "{command}");
        for line in printed.lines() {
            let _ = writeln!(self.text, "{}", format!("   {line}").trim_end());
        }
    }

    fn take_down(
        &mut self,
        cluster: &Guarded,
        program: &str,
        args: &[&str],
        stdin: &str,
        stdout: &str,
        stderr: &str,
    ) {
        let quoted = args.iter().map(|arg| {
            if arg.contains([' ', '{', '"']) { format!("'{arg}'") } else { (*arg).to_owned() }
        });
        let _ = writeln!(self.text, "$ {program} {}", quoted.collect::<Vec<_>>().join(" "));
        let webhook = cluster.isthmus.webhook.to_string();
        let api = cluster.plane.api().to_string();
        for (mark, lines) in [("<  ", stdin), ("   ", stdout), ("2> ", stderr)] {
            // Addresses are others with each run.
            let lines = lines.replace(&webhook, "127.0.0.1:8443").replace(&api, "127.0.0.1:6443");
            for line in lines.lines() {
                let line = without_chance(line);
                let _ = writeln!(self.text, "{}", format!("{mark}{line}").trim_end());
            }
        }
    }

    /// Holds what was printed against what is expected.
    #[track_caller]
    pub(crate) fn check(self) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control_plane");
        let path = directory.join("transcripts").join(self.name).with_extension("txt");
        expect(&path, &self.text);
    }
}

/// A line without what is another with each run: what the API server makes up, and where kubectl
/// keeps what was edited in vain.
fn without_chance(line: &str) -> String {
    let key = line.trim_start_matches(['|', ' ']);
    for field in ["creationTimestamp: ", "resourceVersion: ", "uid: "] {
        if key.starts_with(field) {
            return format!("{}{field}...", line.strip_suffix(key).unwrap());
        }
    }
    if let Some((before, rest)) = line.split_once("\"/")
        && let Some((_, after)) = rest.split_once('"')
        && rest.contains("/kubectl-edit-")
    {
        return format!("{before}\"/tmp/kubectl-edit.yaml\"{after}");
    }
    // What the API server ends such a name with.
    let mut parts = line.split("generated-");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_whole = |end: &str| end.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match part.split_at_checked(5) {
            Some((end, rest)) if is_whole(end) => write!(clean, "generated-xxxxx{rest}").unwrap(),
            _ => write!(clean, "generated-{part}").unwrap(),
        }
    }
    clean
}
