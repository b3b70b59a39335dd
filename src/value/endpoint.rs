//! Metadata endpoints: where a peer publishes what Deckhouse's discovery reads.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use url::Url;

use super::Invalid;
use super::endpoint_parts::{
    STANDARD_PATH, canonical_path, extra_part, fold_label, has_authority, is_plainly_canonical,
    unusable, without_password,
};

/// What a remedy shows where the text does not tell what was meant.
const EXAMPLE: &str = "one such as https://istio.k8s-a.example.com/metadata/";
/// The longest URL that servers and proxies take, in bytes.
const LONGEST: usize = 2048;

/// An `https` URL in canonical form: lower-case punycode host, no default port, one trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetadataEndpoint(Arc<str>);

impl MetadataEndpoint {
    /// Reads an endpoint into its canonical form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let endpoint = Self::canonical(text)?;
        if endpoint.path() == "/" {
            return Err(Invalid::new(
                format!("{endpoint} has no path"),
                format!("did you mean {}?", endpoint.with_standard_path()),
            ));
        }
        Ok(endpoint)
    }

    /// Whether the path is the one Deckhouse serves.
    pub fn has_standard_path(&self) -> bool {
        self.path().ends_with(STANDARD_PATH)
    }

    /// The same endpoint with that path behind its own, or with what follows that path cut off, as
    /// of a document behind it that was pasted.
    pub fn with_standard_path(&self) -> String {
        let own = self.0.len() - self.path().len();
        match self.path().find(STANDARD_PATH) {
            Some(at) => self.0[..own + at + STANDARD_PATH.len()].to_owned(),
            None => format!("{}{}", self.0.trim_end_matches('/'), STANDARD_PATH),
        }
    }

    /// The host as discovery resolves it.
    pub fn host(&self) -> &str {
        let rest = self.without_scheme();
        // An IPv6 address has colons of its own, in brackets.
        let end = if rest.starts_with('[') { rest.find(']').map(|end| end + 1) } else { None };
        let end = end.or_else(|| rest.find([':', '/'])).unwrap_or(rest.len());
        &rest[..end]
    }

    /// The endpoint as text, in canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host by which two endpoints are the same: a first label `istio-metadata` reads `istio`.
    pub fn host_identity(&self) -> Cow<'_, str> {
        fold_label(self.host())
    }

    /// All by which two endpoints are the same: host and port.
    pub fn identity(&self) -> Cow<'_, str> {
        let authority = self.without_scheme();
        fold_label(&authority[..authority.find('/').unwrap_or(authority.len())])
    }

    /// Whether it is at the port that Deckhouse serves metadata at.
    pub fn has_standard_port(&self) -> bool {
        self.identity() == self.host_identity()
    }

    /// The address that the host is, if it is one; an IPv4 address written as IPv6 is that one.
    pub fn address(&self) -> Option<IpAddr> {
        let address: Option<IpAddr> = self.host().trim_matches(['[', ']']).parse().ok();
        address.map(|address| address.to_canonical())
    }

    /// What stands for a host and port, whatever they are.
    pub(super) fn at(authority: &str) -> Self {
        Self(format!("https://{authority}/").into())
    }

    fn without_scheme(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }

    fn path(&self) -> &str {
        let rest = self.without_scheme();
        rest.find('/').map_or("/", |start| &rest[start..])
    }

    fn canonical(text: &str) -> Result<Self, Invalid> {
        if text.len() <= LONGEST && is_plainly_canonical(text) {
            return Ok(Self(text.into()));
        }
        Self::by_url(text)
    }

    fn by_url(text: &str) -> Result<Self, Invalid> {
        let written = text.trim();
        if written.is_empty() {
            return Err(Invalid::new("the metadata endpoint is empty", format!("write {EXAMPLE}")));
        }
        let too_long = || {
            let problem = format!("the metadata endpoint is longer than {LONGEST} characters");
            Invalid::new(problem, format!("write {EXAMPLE}"))
        };
        if written.len() > LONGEST {
            return Err(too_long());
        }
        let url = https_url(written)?;
        if let Some(part) = extra_part(&url) {
            return Err(Invalid::new(
                format!("{:?} has a {part}", without_password(written)),
                format!("write {}", meant(url.as_str())),
            ));
        }
        let host = url.host().ok_or_else(|| not_url(written, "it has no host"))?;
        if let Some(class) = unusable(&host) {
            return Err(Invalid::new(
                format!("host {host} is {class}, which other clusters cannot reach"),
                "write the address at which other clusters reach it",
            ));
        }
        if url.port() == Some(0) {
            return Err(not_url(written, "its port is not between 1 and 65535"));
        }
        let host = host.to_string();
        let host = host.strip_suffix('.').unwrap_or(&host);
        if host.split('.').any(str::is_empty) {
            return Err(not_url(written, "its host has an empty label"));
        }
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let canonical = format!("https://{host}{port}{}", canonical_path(url.path()));
        // What a URL cannot hold as it is written grows.
        if canonical.len() > LONGEST { Err(too_long()) } else { Ok(Self(canonical.into())) }
    }
}

impl fmt::Display for MetadataEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn https_url(written: &str) -> Result<Url, Invalid> {
    let not_https = |meant: &str| {
        let problem = format!("{:?} is not an https URL", without_password(written));
        Invalid::new(problem, format!("write {meant}"))
    };
    let by_https = |rest: &str| meant(&format!("https://{rest}"));
    match Url::parse(written) {
        // Browsers take the first part of the path for the host.
        Ok(_) if has_authority(written) && written[8..].starts_with(['/', '\\']) => {
            Err(not_url(written, "it has no host"))
        }
        // Browsers forgive `https:host` and `https:/host`; Deckhouse's discovery does not.
        Ok(url) if url.scheme() == "https" && has_authority(written) => Ok(url),
        Ok(url) if url.has_host() => {
            let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
            Err(not_https(&by_https(rest)))
        }
        // `istio.example.com:443/metadata/` parses as scheme `istio.example.com`.
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            let meant = by_https(written.trim_start_matches('/'));
            // What is left before an `@` may be a password all the same.
            Err(not_https(if meant.contains('@') { EXAMPLE } else { &meant }))
        }
        Err(why) => Err(not_url(written, &why.to_string())),
    }
}

/// What to write instead of a URL with parts that it must not have: itself a usable endpoint.
fn meant(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return EXAMPLE.to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    // An https URL always has a host, so neither call can fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    match MetadataEndpoint::canonical(url.as_str()) {
        Ok(endpoint) if endpoint.path() == "/" => endpoint.with_standard_path(),
        Ok(endpoint) => endpoint.to_string(),
        Err(_) => EXAMPLE.to_owned(),
    }
}

fn not_url(written: &str, why: &str) -> Invalid {
    let problem = format!("{:?} is not a URL: {why}", without_password(written));
    Invalid::new(problem, format!("write {EXAMPLE}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, cases: 2000, ..ProptestConfig::default()
        })]

        #[test]
        fn the_short_way_ends_where_the_url_parser_does(
            host in "(xn-|XN-|-|[a-z0-9_:@%A-F\u{e4}]){0,5}(\\.([a-z0-9-]|xn--){0,5}){0,3}",
            path in "[a-z0-9./%:?#-]{0,8}(/metadata/|/)?",
        ) {
            for text in [format!("https://{host}/metadata/"), format!("https://{host}/{path}")] {
                if is_plainly_canonical(&text) {
                    let by_url = MetadataEndpoint::by_url(&text).map(|endpoint| endpoint.to_string());
                    prop_assert_eq!(by_url, Ok(text));
                }
            }
        }

        #[test]
        fn a_remedy_is_itself_an_endpoint(
            scheme in "(https?|HTTPS?|ftp|x)?", mark in "(://|:|//|:/|:\\\\\\\\|)", user in "([a-z:@]{1,4}@)?",
            host in "[a-z0-9.A-C\u{e4}-]{0,8}(:[0-9]{0,4})?", rest in "[a-z./?#@ ]{0,8}",
        ) {
            let text = format!("{scheme}{mark}{user}{host}{rest}");
            if let Err(why) = MetadataEndpoint::parse(&text) {
                let url = why.remedy.split(' ').find_map(|word| {
                    word.starts_with("https:").then(|| word.trim_end_matches('?').to_owned())
                });
                prop_assert!(url.is_none_or(|url| MetadataEndpoint::parse(&url).is_ok()), "{text:?}: {why}");
            }
        }
    }

    #[test]
    fn reads_into_canonical_form() {
        const CASES: &[(&str, &str)] = &[
            (
                "https://istio.k8s-a.example.com/metadata/",
                "https://istio.k8s-a.example.com/metadata/",
            ),
            (
                " HTTPS://Istio.K8S-C.example.com:443/metadata ",
                "https://istio.k8s-c.example.com/metadata/",
            ),
            ("https://b\u{fc}cher.example/metadata/", "https://xn--bcher-kva.example/metadata/"),
            ("https://a.example:8443//x/./y/..//metadata//", "https://a.example:8443/x/metadata/"),
            ("https://a.example/metadata/public/public.json", "https://a.example/metadata/"),
            (
                "https://a.example/metadata//private/multicluster.json",
                "https://a.example/metadata/",
            ),
            (
                "https://a.example/metadata/private/multicluster.json/",
                "https://a.example/metadata/",
            ),
            ("https://a.example./metadata/", "https://a.example/metadata/"),
            ("https://203.0.113.7/metadata/", "https://203.0.113.7/metadata/"),
            ("https://[2001:DB8::1]/metadata/", "https://[2001:db8::1]/metadata/"),
            ("https://a.example/Metadata/", "https://a.example/Metadata/"),
        ];
        for (text, expected) in CASES {
            let read = MetadataEndpoint::parse(text).unwrap();
            assert_eq!(read.as_str(), *expected, "{text:?}");
            assert_eq!(MetadataEndpoint::parse(read.as_str()), Ok(read.clone()), "{text:?}");
        }
    }

    #[test]
    fn refuses_with_the_remedy() {
        const CASES: &[(&str, &str)] = &[
            (
                "",
                "the metadata endpoint is empty; write one such as https://istio.k8s-a.example.com/metadata/",
            ),
            (
                "http://a.example/metadata/",
                r#""http://a.example/metadata/" is not an https URL; write https://a.example/metadata/"#,
            ),
            (
                "a.example/metadata/",
                r#""a.example/metadata/" is not an https URL; write https://a.example/metadata/"#,
            ),
            (
                "a.example:8443/metadata/",
                r#""a.example:8443/metadata/" is not an https URL; write https://a.example:8443/metadata/"#,
            ),
            ("a.example", r#""a.example" is not an https URL; write https://a.example/metadata/"#),
            (
                "//a.example/metadata/",
                r#""//a.example/metadata/" is not an https URL; write https://a.example/metadata/"#,
            ),
            (
                "https:/a.example/metadata/",
                r#""https:/a.example/metadata/" is not an https URL; write https://a.example/metadata/"#,
            ),
            (
                "HTTP://http.example:80?x",
                r#""HTTP://http.example:80?x" is not an https URL; write https://http.example/metadata/"#,
            ),
            (
                "u:p@ss@a.example/metadata/",
                r#""...@a.example/metadata/" is not an https URL; write https://a.example/metadata/"#,
            ),
            (
                "http://u:p@ss@a.example/x@y/metadata/",
                r#""http://...@a.example/x@y/metadata/" is not an https URL; write https://a.example/x@y/metadata/"#,
            ),
            (
                "http://localhost.:80/#x",
                r#""http://localhost.:80/#x" is not an https URL; write one such as https://istio.k8s-a.example.com/metadata/"#,
            ),
            (
                "http://127.0.0.1/metadata/",
                r#""http://127.0.0.1/metadata/" is not an https URL; write one such as https://istio.k8s-a.example.com/metadata/"#,
            ),
            (
                "https://a.example?x=1",
                r#""https://a.example?x=1" has a query; write https://a.example/metadata/"#,
            ),
            (
                "https://",
                r#""https://" is not a URL: empty host; write one such as https://istio.k8s-a.example.com/metadata/"#,
            ),
            (
                "https://u:p@a.example/metadata/",
                r#""https://...@a.example/metadata/" has a user name or password; write https://a.example/metadata/"#,
            ),
            (
                "https://a.example/metadata/?x=1",
                r#""https://a.example/metadata/?x=1" has a query; write https://a.example/metadata/"#,
            ),
            (
                "https://a.example/metadata/#x",
                r#""https://a.example/metadata/#x" has a fragment; write https://a.example/metadata/"#,
            ),
            (
                "https://a.example",
                "https://a.example/ has no path; did you mean https://a.example/metadata/?",
            ),
            (
                "https://127.0.0.1/metadata/",
                "host 127.0.0.1 is a loopback address, which other clusters cannot reach; write the address at which other clusters reach it",
            ),
            (
                "https://0x7f.1/metadata/",
                "host 127.0.0.1 is a loopback address, which other clusters cannot reach; write the address at which other clusters reach it",
            ),
            (
                "https://[::ffff:127.0.0.1]/metadata/",
                "host [::ffff:7f00:1] is a loopback address, which other clusters cannot reach; write the address at which other clusters reach it",
            ),
            (
                "https://0.0.0.0/metadata/",
                "host 0.0.0.0 is the unspecified address, which other clusters cannot reach; write the address at which other clusters reach it",
            ),
            (
                "https://169.254.1.1/metadata/",
                "host 169.254.1.1 is a link-local address, which other clusters cannot reach; write the address at which other clusters reach it",
            ),
        ];
        for (text, expected) in CASES {
            let error = MetadataEndpoint::parse(text).unwrap_err();
            assert_eq!(error.to_string(), *expected, "{text:?}");
        }
    }

    fn identity_of(host: &str) -> String {
        let endpoint = MetadataEndpoint::parse(&format!("https://{host}/metadata/")).unwrap();
        endpoint.identity().into_owned()
    }

    #[test]
    fn localhost_is_not_another_cluster() {
        for host in ["localhost", "a.localhost", "LOCALHOST.", "a.localhost:8443"] {
            let why = MetadataEndpoint::parse(&format!("https://{host}/metadata/")).unwrap_err();
            assert!(why.problem.contains("is a loopback name"), "{why}");
        }
        assert!(MetadataEndpoint::parse("https://localhost.example/metadata/").is_ok());
    }

    #[test]
    fn advises_the_endpoint_behind_a_pasted_document() {
        for path in ["private/federation.json", "public/", "metadata/"] {
            let text = format!("https://a.example/metadata/{path}");
            let endpoint = MetadataEndpoint::parse(&text).unwrap();
            assert_eq!(endpoint.with_standard_path(), "https://a.example/metadata/", "{path}");
        }
    }

    #[test]
    fn sees_through_the_two_host_labels() {
        let identity = |text| MetadataEndpoint::parse(text).unwrap().identity().into_owned();
        let old = identity("https://istio.k8s-a.example.com/metadata/");
        assert_eq!(identity("https://istio-metadata.k8s-a.example.com/metadata/"), old);
        assert_ne!(identity("https://istio.k8s-a.example.com:8443/metadata/"), old);
        assert_ne!(identity("https://istio-api.k8s-a.example.com/metadata/"), old);
        assert_eq!(identity("https://istio.k8s-a.example.com/other/metadata/"), old);
        for (one, other) in [
            ("istio-kube.example.com", "istio-metadata-kube.example.com"),
            ("prod-istio.example.com", "prod-istio-metadata.example.com"),
        ] {
            let [one, other] = [one, other].map(identity_of);
            assert_eq!(one, other);
        }
        assert_ne!(identity_of("istio-metadatas.example.com"), identity_of("istios.example.com"));
    }

    #[test]
    fn a_value_with_too_long_a_canonical_form_is_rejected() {
        let written = format!("https://a.example/{}/metadata/", "\u{e4}".repeat(500));
        let why = MetadataEndpoint::parse(&written).unwrap_err();
        assert_eq!(why.problem, "the metadata endpoint is longer than 2048 characters");
    }

    #[test]
    fn does_not_print_passwords_of_invalid_urls() {
        for (text, told) in [
            ("https;//u:p@a.example/metadata/", r#""...@a.example/metadata/" is not an https URL"#),
            (
                "https://u:p/ss@a.example/metadata/",
                r#""https://...@a.example/metadata/" is not a URL: invalid port number"#,
            ),
            (r"g://u\\:p@a.example/", r#""g://...@a.example/" is not an https URL"#),
            ("\u{1}http://u:p@a.example/", r#""...@a.example/" is not an https URL"#),
        ] {
            let why = MetadataEndpoint::parse(text).unwrap_err();
            assert_eq!(why.problem, told);
            assert!(!why.remedy.contains("u:p"), "{why}");
        }
    }
}
