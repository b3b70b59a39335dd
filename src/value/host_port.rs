//! Hosts with ports, as clients dial them.

use std::net::{IpAddr, Ipv6Addr};

use super::{ClusterDomain, Invalid};

/// Checks that a text is `IP:port` or `host:port`, such as the example.
pub fn check_host_and_port(text: &str, example: &str) -> Result<(), Invalid> {
    let why = match parts(text) {
        Ok((_, Some(_))) => return Ok(()),
        Ok((_, None)) => {
            let is_bare = text.parse::<Ipv6Addr>().is_ok();
            let host = if is_bare { format!("[{text}]") } else { text.to_owned() };
            let problem = format!("{text:?} has no port");
            let port = example.rsplit(':').next().unwrap_or_default();
            return Err(Invalid::new(problem, format!("write one, as in {host}:{port}")));
        }
        Err(why) => why,
    };
    let problem = format!("{text:?} is not IP:port or host:port: {why}");
    let meant = meant(text).filter(|meant| matches!(parts(meant), Ok((_, Some(_)))));
    let remedy = match meant {
        Some(meant) => format!("write {meant}"),
        None => format!("write one such as {example}"),
    };
    Err(Invalid::new(problem, remedy))
}

/// Checks that a text is a host name or an address, which may have a port.
pub fn check_host(text: &str) -> Result<(), Invalid> {
    let Err(why) = parts(text) else { return Ok(()) };
    let problem = format!("{text:?} is neither a host nor host:port: {why}");
    let meant = meant(text).filter(|meant| parts(meant).is_ok());
    let remedy = match meant {
        Some(meant) => format!("write {meant}"),
        None => "write one such as 10.23.230.11 or 10.23.230.11:6443".to_owned(),
    };
    Err(Invalid::new(problem, remedy))
}

/// The host, and the port if there is one; or why it is none.
fn parts(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    if text.contains("://") {
        return Err("it has a scheme");
    }
    if text.contains(char::is_whitespace) {
        return Err("it contains white space");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("its bracket is not closed")?;
        host.parse::<Ipv6Addr>().map_err(|_| "the text in brackets is not an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(number(port)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("a colon and a port must follow the bracket"),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err("it has too many colons"),
        Some((host, port)) => (host, Some(number(port)?)),
        None => (text, None),
    };
    let is_address = host.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    if is_address && host.parse::<IpAddr>().is_err() {
        return Err("its host is not an IP address");
    }
    if host.is_empty() {
        return Err("it has no host");
    }
    if ClusterDomain::parse(host).is_err() {
        return Err("its host is not a DNS name");
    }
    Ok((host, port))
}

fn number(port: &str) -> Result<u16, &'static str> {
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|number| is_plain && *number > 0);
    number.ok_or("its port is not between 1 and 65535")
}

/// The same without what was pasted with it.
fn meant(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_clients_dial() {
        for text in ["192.168.1.1:9080", "pilot.example.com:15010", "[fd00::1]:9080", "pilot:1"] {
            assert_eq!(check_host_and_port(text, "pilot:9080"), Ok(()), "{text}");
            assert_eq!(check_host(text), Ok(()), "{text}");
        }
        for text in ["10.23.230.11", "kubernetes.example.com", "fd00::1", "[fd00::1]"] {
            assert_eq!(check_host(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        const CASES: &[(&str, &str)] = &[
            ("192.168.1.1", "has no port; write one, as in 192.168.1.1:9080"),
            ("fd00::1", "has no port; write one, as in [fd00::1]:9080"),
            (
                "http://192.168.1.1:9080/",
                "is not IP:port or host:port: it has a scheme; write 192.168.1.1:9080",
            ),
            (
                " pilot:9080",
                "is not IP:port or host:port: it contains white space; write pilot:9080",
            ),
            (
                "192.168.1.300:9080",
                "is not IP:port or host:port: its host is not an IP address; write one such as 192.168.1.1:9080",
            ),
            (
                "192.168.1.1:0",
                "is not IP:port or host:port: its port is not between 1 and 65535; write one such as 192.168.1.1:9080",
            ),
            (
                "192.168.1.1:+80",
                "is not IP:port or host:port: its port is not between 1 and 65535; write one such as 192.168.1.1:9080",
            ),
            (
                ":9080",
                "is not IP:port or host:port: it has no host; write one such as 192.168.1.1:9080",
            ),
            (
                "[fd00::1:9080",
                "is not IP:port or host:port: its bracket is not closed; write one such as 192.168.1.1:9080",
            ),
            (
                "a:b:c",
                "is not IP:port or host:port: it has too many colons; write one such as 192.168.1.1:9080",
            ),
        ];
        for (text, expected) in CASES {
            let told = check_host_and_port(text, "192.168.1.1:9080").unwrap_err().to_string();
            assert_eq!(told, format!("{text:?} {expected}"));
        }
        let told = check_host("https://10.23.230.11:6443").unwrap_err().remedy;
        assert_eq!(told, "write 10.23.230.11:6443");
    }
}
