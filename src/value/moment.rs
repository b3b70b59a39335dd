//! A point in time, as far as verdicts depend on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use jiff::Timestamp;

/// A point in time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(u32);

impl Moment {
    /// The beginning of 1970.
    pub const EPOCH: Self = Self(0);

    /// So many seconds after 1970; what is before that or after 2106 is the nearest moment.
    pub fn of_unix(seconds: i64) -> Self {
        Self(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX))
    }

    /// How long it is after an earlier one; nothing if it is before that.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        Self::of_unix(time.as_second())
    }
}

/// The day, as certificates and logs write it.
impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = Timestamp::from_second(self.0.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        write!(f, "{time}")
    }
}
