//! What tests of the running program share.

pub(crate) mod api;
pub(crate) mod cable;
pub(crate) mod client;
pub(crate) mod elsewhere;
pub(crate) mod golden;
pub(crate) mod guarded;
pub(crate) mod https;
#[allow(unreachable_pub, reason = "the benchmarks use it too")]
pub(crate) mod objects;
pub(crate) mod pem;
pub(crate) mod plane;
pub(crate) mod process;
pub(crate) mod racing;
pub(crate) mod recorder;
pub(crate) mod relay;
pub(crate) mod replicas;
pub(crate) mod scouting;
pub(crate) mod showing;
pub(crate) mod transcript;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use objects::{described, review, with};

/// How long anything is waited for: no measure of speed, but the end of a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `probe` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(pause);
        // Whoever waits long leaves the machine to those who work.
        pause = (pause * 3 / 2).min(Duration::from_millis(100));
    }
}

/// Ends what runs beside a test, however the test ends.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A directory that is removed with its contents at the end.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A directory with one file.
    pub(crate) fn with(name: &str, text: &str) -> Self {
        let directory = Self::new();
        directory.write(name, text);
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file so that no reader ever sees half of it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let unfinished = self.0.join(format!(".{name}.new"));
        fs::write(&unfinished, text).unwrap();
        fs::rename(&unfinished, self.0.join(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the tests' data.
pub(crate) fn data(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// A review that creates an IstioMulticluster.
pub(crate) fn peer(name: &str, endpoint: &str) -> Json {
    let object = with(described(name, true, &[]), &["spec", "metadataEndpoint"], endpoint);
    review(None, &object)
}
