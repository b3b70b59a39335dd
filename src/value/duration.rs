//! Durations as Kubernetes writes them: `10s`, `1m30s`, `250ms`; and days: `90d`.

use std::time::Duration;

/// The units, and how many seconds each has.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// Reads a duration; a bare number counts seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("{text:?} is not a duration such as 10s, 1m30s or 250ms");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = &after[..letters];
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() && digits == text.trim().len() => 1.0,
            None => return Err(invalid()),
        };
        seconds += number * factor;
        rest = &after[letters..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

/// Reads a duration that is not zero.
pub fn positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        const CASES: &[(&str, Option<u64>)] = &[
            ("10s", Some(10_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("1h", Some(3_600_000)),
            ("87600h", Some(315_360_000_000)),
            ("90d", Some(7_776_000_000)),
            ("1d12h", Some(129_600_000)),
            ("", None),
            ("s", None),
            ("10", Some(10_000)),
            ("1m30", None),
            ("-1s", None),
            ("1e9s", None),
            ("9999999999999999999999h", None),
        ];
        for (text, milliseconds) in CASES {
            assert_eq!(parse(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
