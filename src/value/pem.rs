//! Certificates in PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Invalid;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// What the DER of a certificate begins with.
const SEQUENCE: u8 = 0x30;

/// Checks that a text holds certificates in PEM, and nothing else that is in PEM.
pub fn check_certificates(text: &str) -> Result<(), Invalid> {
    let remedy = "write the certificate of the certificate authority (CA) in PEM: -----BEGIN CERTIFICATE-----";
    let invalid = |problem: &str| Err(Invalid::new(problem, remedy));
    if text.contains("PRIVATE KEY-----") {
        return invalid("contains a private key");
    }
    let mut blocks = text.split(BEGIN);
    blocks.next();
    let mut count = 0;
    for block in blocks {
        let Some((base64, _)) = block.split_once(END) else {
            return invalid("a certificate has no end");
        };
        let base64: String = base64.split_whitespace().collect();
        match STANDARD.decode(base64) {
            Ok(der) if der.first() == Some(&SEQUENCE) => count += 1,
            _ => return invalid("contains a certificate that cannot be decoded"),
        }
    }
    if count > 0 {
        return Ok(());
    }
    let is_base64 = STANDARD.decode(text.split_whitespace().collect::<String>());
    if is_base64.is_ok_and(|bytes| bytes.starts_with(BEGIN.as_bytes())) {
        invalid("is base64 of PEM, not PEM")
    } else {
        invalid("is not a certificate in PEM")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_certificates_from_everything_else() {
        let pem = format!("{BEGIN}\nMIIB\n{END}\n");
        assert_eq!(check_certificates(&pem), Ok(()));
        assert_eq!(check_certificates(&format!("# root\r\n{pem}{pem}")), Ok(()));
        let encoded = STANDARD.encode(&pem);
        for text in
            ["", "x", &encoded, BEGIN, "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"]
        {
            assert!(check_certificates(text).is_err(), "{text:?}");
        }
        let key = format!("{pem}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
        assert_eq!(check_certificates(&key).unwrap_err().problem, "contains a private key");
    }
}
