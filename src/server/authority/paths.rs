//! Secret paths, which only the API server is told to call.
//!
//! A path is a brake and no authority: the API server shows it to whoever's write meets a failed
//! call, and writes it into its log. So it changes after such a call, and what it is good for is
//! bounded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::sync::Notify;

use crate::server::tls::{self, TlsError};

/// How many digits a path has.
const DIGITS: usize = 32;
/// How many of the paths that are no longer valid are remembered.
const MOST_STALE: usize = 8;
/// How long to rest after a look for paths before callers may bring about the next one.
pub(in crate::server) const REST: Duration = Duration::from_secs(1);
/// What stands for a path where it must not be shown.
const HIDDEN: &str = "<path>";

/// 128 random bits, written as 32 lower-case hexadecimal digits. They are compared in constant
/// time, and shown by [`SecretPath::reveal`] only.
#[derive(Clone, Copy)]
pub struct SecretPath([u8; DIGITS / 2]);

/// The paths by which callers are known.
#[derive(Debug)]
pub(in crate::server) struct Paths {
    /// Whether there is anything that they come from.
    is_set_up: bool,
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The current path first, then others that may still be called.
    honoured: Vec<SecretPath>,
    /// Those that were, the latest last.
    stale: Vec<SecretPath>,
    /// Whether the first one may have been disclosed.
    is_suspect: bool,
}

/// A file of paths that is maintained elsewhere.
#[derive(Debug)]
pub(in crate::server) struct PathFile {
    file: PathBuf,
    /// The bytes that were tried last, so that each invalid state is logged once.
    tried: Mutex<Option<u64>>,
}

/// What is known of the path of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Known {
    /// Only the API server should know it.
    Honoured,
    /// It was that once.
    Stale,
    /// It never was, as far as is known here.
    Unknown,
}

impl SecretPath {
    /// Generates a path; `None` if there is no source of randomness.
    pub(in crate::server) fn make() -> Option<Self> {
        let mut bits = [0; DIGITS / 2];
        tls::provider().secure_random.fill(&mut bits).ok()?;
        Some(Self(bits))
    }

    /// Reads 32 lower-case hexadecimal digits, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let is_path = text.len() == DIGITS && text.bytes().all(is_digit);
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| is_path)?;
        Some(Self(bits.to_be_bytes()))
    }

    /// Its digits. They belong into Secrets and webhook configurations, and nowhere else.
    pub fn reveal(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// Reads a file of paths, one per line; the first is the current one.
    pub fn read(file: &Path) -> Result<Vec<Self>, TlsError> {
        Self::all(file, &tls::read(file)?)
    }

    fn all(file: &Path, bytes: &[u8]) -> Result<Vec<Self>, TlsError> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let paths: Option<Vec<_>> = lines.map(Self::parse).collect();
        let paths = paths.filter(|paths| !paths.is_empty());
        paths.ok_or_else(|| TlsError::NotAPath { file: file.to_owned() })
    }
}

impl PartialEq for SecretPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretPath {}

impl fmt::Debug for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A foreign text, with secret paths masked.
pub(crate) fn hidden(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (before, after) = rest.split_at(at + 1);
        hidden.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let is_path = SecretPath::parse(&after[..end]).is_some();
        hidden.push_str(if is_path { HIDDEN } else { &after[..end] });
        rest = &after[end..];
    }
    hidden + rest
}

impl Paths {
    /// None yet; more will come only if they are set up.
    pub(in crate::server) fn new(is_set_up: bool) -> Self {
        // Whoever was here before may have failed calls.
        let state = State { is_suspect: true, ..State::default() };
        Self { is_set_up, state: Mutex::new(state), wanted: Notify::new() }
    }

    pub(in crate::server) fn are_set_up(&self) -> bool {
        self.is_set_up
    }

    /// Accepts these from now on and no others; the first is the current one.
    pub(in crate::server) fn honour(&self, paths: Vec<SecretPath>) {
        let mut state = self.state();
        let is_another = state.honoured.first() != paths.first();
        if is_another && !state.honoured.is_empty() {
            state.is_suspect = false;
        }
        let before = std::mem::replace(&mut state.honoured, paths);
        let State { honoured, stale, .. } = &mut *state;
        stale.extend(before);
        stale.retain(|path| !honoured.contains(path));
        let surplus = stale.len().saturating_sub(MOST_STALE);
        stale.drain(..surplus);
    }

    /// Those that are honoured.
    pub(in crate::server) fn honoured(&self) -> Vec<SecretPath> {
        self.state().honoured.clone()
    }

    /// What is known of what stands in the place of a path. All are compared, whichever it is.
    pub(in crate::server) fn find(&self, text: &str) -> Known {
        let Some(path) = SecretPath::parse(text) else { return Known::Unknown };
        let among = |paths: &[SecretPath]| paths.iter().filter(|known| **known == path).count() > 0;
        let state = self.state();
        match (among(&state.honoured), among(&state.stale)) {
            (true, _) => Known::Honoured,
            (false, true) => Known::Stale,
            (false, false) => Known::Unknown,
        }
    }

    /// The current path, which a failed call may disclose.
    pub(in crate::server) fn first(&self) -> Option<SecretPath> {
        self.state().honoured.first().copied()
    }

    /// Notes that a call of this path has failed.
    pub(in crate::server) fn suspect(&self, path: SecretPath) {
        let mut state = self.state();
        if state.honoured.first() == Some(&path) {
            state.is_suspect = true;
        }
    }

    /// Notes that this process created the first one, and that no call of it has failed yet.
    pub(in crate::server) fn trust(&self) {
        self.state().is_suspect = false;
    }

    /// Whether the first one may have been disclosed.
    pub(in crate::server) fn is_suspect(&self) -> bool {
        self.state().is_suspect
    }

    /// Asks for a look where they come from.
    pub(in crate::server) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits until such a look is asked for.
    pub(in crate::server) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PathFile {
    /// Reads it for the first time.
    pub(in crate::server) fn load(file: PathBuf, paths: &Paths) -> Result<Self, TlsError> {
        let found = Self { file, tried: Mutex::default() };
        found.refresh(paths)?;
        Ok(found)
    }

    /// Looks whether it holds other paths, and says so.
    pub(in crate::server) fn refresh(&self, paths: &Paths) -> Result<bool, TlsError> {
        let read = tls::read(&self.file);
        let state = match &read {
            Ok(bytes) => tls::hash(bytes),
            Err(error) => tls::hash(&error.to_string()),
        };
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(state);
        if tried == Some(state) {
            return Ok(false);
        }
        paths.honour(SecretPath::all(&self.file, &read?)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_path_is_thirty_two_lower_case_digits() {
        assert_eq!(SecretPath::parse(ONE).unwrap().reveal(), ONE);
        let upper = ONE.to_uppercase();
        for text in ["", &ONE[1..], &upper, &format!("{ONE}0"), &format!("+{}", &ONE[1..])] {
            assert!(SecretPath::parse(text).is_none(), "{text}");
        }
        let (one, other) = (SecretPath::make().unwrap(), SecretPath::make().unwrap());
        assert!(one != other && SecretPath::parse(&one.reveal()) == Some(one));
    }

    #[test]
    fn a_path_is_never_printed() {
        let path = SecretPath::parse(ONE).unwrap();
        let paths = Paths::new(true);
        paths.honour(vec![path]);
        assert!(!format!("{path:?} {paths:?}").contains(ONE));
        let told =
            format!("Post \"https://isthmus.isthmus.svc:443/validate/{ONE}?timeout=5s\": EOF");
        assert_eq!(
            hidden(&told),
            "Post \"https://isthmus.isthmus.svc:443/validate/<path>?timeout=5s\": EOF"
        );
        for whole in ["", "/", "a/b", &format!("/x{ONE}"), ONE, "/ä/"] {
            assert_eq!(hidden(whole), whole);
        }
        assert_eq!(hidden(&format!("/{ONE}/{ONE}")), "/<path>/<path>");
    }

    #[test]
    fn paths_that_were_honoured_are_remembered_for_a_while() {
        let made: Vec<_> = (0..20).map(|_| SecretPath::make().unwrap()).collect();
        let paths = Paths::new(true);
        for path in &made {
            paths.honour(vec![*path]);
        }
        let known: Vec<_> = made.iter().map(|path| paths.find(&path.reveal())).collect();
        assert_eq!(known[19], Known::Honoured);
        assert!(known[11..19].iter().all(|known| *known == Known::Stale), "{known:?}");
        assert!(known[..11].iter().all(|known| *known == Known::Unknown), "{known:?}");
        // One that comes again is honoured again.
        paths.honour(vec![made[18]]);
        assert_eq!(paths.find(&made[18].reveal()), Known::Honoured);
        assert_eq!(paths.find(&made[19].reveal()), Known::Stale);
    }

    #[test]
    fn only_the_path_that_is_called_becomes_suspect() {
        let [first, second] = [(); 2].map(|()| SecretPath::make().unwrap());
        let paths = Paths::new(true);
        assert!(paths.is_suspect(), "nobody knows what was before");
        paths.honour(vec![first]);
        assert!(paths.is_suspect());
        paths.honour(vec![second, first]);
        assert!(!paths.is_suspect(), "another replica has changed it since");
        paths.suspect(first);
        assert!(!paths.is_suspect());
        paths.suspect(second);
        paths.honour(vec![second]);
        assert!(paths.is_suspect());
    }
}
