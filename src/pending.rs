//! Writes that were admitted and may never be stored: for how long they count, and when a write that
//! waits for them is to come again.
//!
//! What identifies such a write, and what proves that it is over, is [`crate::mesh::WriteId`].

use std::time::Duration;

/// How long a write counts at most that is not known to be over. An API server gives up on a request
/// after 34 s at the latest; what remains is etcd's commit.
pub const LONGEST: Duration = Duration::from_secs(45);
/// How often kubectl and client-go repeat a request that is answered with 429 and `Retry-After`.
pub const REPETITIONS: usize = 10;
/// When a waiting write comes again, in seconds before the end of what it waits for: soon after its
/// beginning, for nearly every write is over within a second, and then at even distances. There are
/// as many of them as a client has repetitions, so none gives up before the end.
const APPOINTMENTS: [u64; REPETITIONS] = [44, 42, 39, 35, 30, 24, 18, 12, 6, 0];
/// The longest distance of two of them, in seconds.
const LONGEST_WAIT: u64 = 6;

/// In how many seconds a write is to come again that waits for others, the last of which is over in
/// so long.
pub fn retry_after(remaining: Duration) -> u64 {
    let seconds = remaining.as_secs() + u64::from(remaining.subsec_nanos() > 0);
    let next = APPOINTMENTS.into_iter().find(|at| *at < seconds).unwrap_or(0);
    seconds.saturating_sub(next).clamp(1, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_retries_outlast_whatever_it_waits_for() {
        for milliseconds in (0..=LONGEST.as_millis()).step_by(50) {
            let mut remaining = Duration::from_millis(u64::try_from(milliseconds).unwrap());
            let mut repetitions = 0;
            while !remaining.is_zero() {
                let wait = retry_after(remaining);
                assert!((1..=LONGEST_WAIT).contains(&wait), "{remaining:?}: {wait}");
                remaining = remaining.saturating_sub(Duration::from_secs(wait));
                repetitions += 1;
            }
            assert!(repetitions <= REPETITIONS, "{milliseconds} ms: {repetitions}");
        }
    }

    #[test]
    fn the_first_repetition_comes_soon() {
        assert_eq!(retry_after(LONGEST), 1);
        assert_eq!(retry_after(Duration::ZERO), 1);
        assert_eq!(retry_after(Duration::from_secs(24)), 6);
    }
}
