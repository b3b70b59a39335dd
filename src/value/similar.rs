//! What a name that nobody knows was meant to be.

use strsim::damerau_levenshtein;

/// One in so many characters may be wrong.
const CHARACTERS_PER_MISTAKE: usize = 3;

/// The known name that another one was most likely meant to be: the same in another case, or with
/// a few wrong letters.
pub fn similar<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // Compared letter by letter, which a text that is no name would make slow.
    let longest = known.iter().map(|known| known.len()).max()?;
    if name.len() > 2 * longest {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let distance = |known: &&str| damerau_levenshtein(&name, &known.to_ascii_lowercase());
    let nearest = known.iter().copied().min_by_key(distance)?;
    (distance(&nearest) * CHARACTERS_PER_MISTAKE <= nearest.len()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        const KNOWN: &[&str] = &["fromCidr", "fromRegistry", "registryServiceName"];
        for (name, meant) in [
            ("fromCIDR", Some("fromCidr")),
            ("from-cidr", Some("fromCidr")),
            ("registry", Some("fromRegistry")),
            ("RegistryServicename", Some("registryServiceName")),
            ("weight", None),
            ("", None),
        ] {
            assert_eq!(similar(name, KNOWN), meant, "{name}");
        }
        assert_eq!(similar("x", &[]), None);
        assert_eq!(similar(&"fromCidr".repeat(100_000), KNOWN), None);
    }
}
