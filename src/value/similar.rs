//! What an unknown name was meant to be.

use strsim::damerau_levenshtein;

/// One in this many characters may be wrong.
const CHARACTERS_PER_MISTAKE: usize = 3;
/// Longer names, in bytes, are not compared: the cost grows with the square.
const LONGEST: usize = 63;

/// The known name that another one was most likely meant to be: the same in another case, or with
/// a few wrong letters.
pub fn similar<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let mistakes = |known: &str| {
        let most = known.len() / CHARACTERS_PER_MISTAKE;
        // Compared letter by letter only where the lengths leave a chance.
        let is_near = known.len() <= LONGEST && known.len().abs_diff(name.len()) <= most;
        let mistakes = is_near.then(|| damerau_levenshtein(&lower, &known.to_ascii_lowercase()))?;
        (mistakes <= most).then_some(mistakes)
    };
    let near = known.iter().filter_map(|known| Some((mistakes(known)?, *known)));
    near.min_by_key(|(mistakes, _)| *mistakes).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        const KNOWN: &[&str] = &["pilotEndpoint", "platform", "pilotCfgStore", "accessConfigFile"];
        for (name, meant) in [
            ("pilotendpoint", Some("pilotEndpoint")),
            ("pilotEndpiont", Some("pilotEndpoint")),
            ("pilotConfigStore", Some("pilotCfgStore")),
            ("plattform", Some("platform")),
            ("region", None),
            ("", None),
        ] {
            assert_eq!(similar(name, KNOWN), meant, "{name}");
        }
        assert_eq!(similar("x", &[]), None);
        assert_eq!(similar(&"pilotEndpoint".repeat(100_000), KNOWN), None);
        let long = "p".repeat(LONGEST + 1);
        assert_eq!(similar(&long, &[&long]), None);
        // As far off as one another: the first.
        assert_eq!(similar("abcx", &["abcd", "abce"]), Some("abcd"));
    }
}
