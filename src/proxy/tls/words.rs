//! What rustls reports, in words for users: its own texts are names of its types.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// rustls's own error within an error of a stream.
pub(in crate::proxy) fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Why TLS with a peer failed, as a phrase about the peer ("its certificate has expired"). For errors of a server, seen from
/// a client.
pub(in crate::proxy) fn failure(error: &Error) -> Cow<'static, str> {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refusal(*alert).into(),
        // What a server without TLS sends.
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            "it sent something that is not TLS".into()
        }
        Error::PeerIncompatible(_) => "it has no version or cipher of TLS 1.2 or 1.3 in common with squall".into(),
        Error::NoApplicationProtocol => "it does not speak the version of HTTP that `protocol` asks for".into(),
        Error::NoCertificatesPresented => "it presented no certificate".into(),
        Error::DecryptError | Error::PeerMisbehaved(_) | Error::InappropriateHandshakeMessage { .. } => {
            "it violated the protocol".into()
        }
        _ => "the handshake failed".into(),
    }
}

/// Why a server's certificate is refused.
fn certificate(error: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Bad;
    let text = match error {
        Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate is not valid yet",
        Bad::Revoked => "its certificate was revoked",
        Bad::UnknownIssuer => {
            "its certificate was not issued by a trusted authority; `tls: {ca: FILE}` trusts another one"
        }
        Bad::BadSignature => "its certificate has a wrong signature",
        Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed with an algorithm that squall does not support"
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "its certificate is not meant for a server",
        Bad::NotValidForName => "its certificate is for another name; `tls: {sni: NAME}` sets the name",
        Bad::NotValidForNameContext { expected, presented } => return other_name(&expected.to_str(), presented).into(),
        Bad::BadEncoding => "its certificate can't be parsed",
        // webpki's: among them a CA's certificate in place of a server's.
        Bad::Other(_) => "its certificate is not one of a server; `tls: {ca: FILE}` with this certificate trusts it",
        _ => "its certificate is not valid",
    };
    text.into()
}

/// `presented` has names as webpki's debug output, such as `DnsName("shop.test")` and `IpAddress(127.0.0.1)`.
fn other_name(expected: &str, presented: &[String]) -> String {
    const MOST: usize = 3;
    let mut text = String::from("its certificate is for ");
    for (index, name) in presented.iter().take(MOST).enumerate() {
        let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
        let plain = inner.unwrap_or(name).trim_matches('"');
        let _infallible = write!(text, "{}{plain}", if index == 0 { "" } else { ", " });
    }
    match presented.len() {
        0 => text.push_str("no name (it has no subjectAltName)"),
        count if count > MOST => text.push_str(" and others"),
        _ => {}
    }
    let _infallible = write!(text, ", not for {expected}; `tls: {{sni: NAME}}` sets the name");
    text
}

/// What a peer's alert means (RFC 8446, section 6.2).
fn refusal(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    let text = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "it requires a client certificate; `tls: {certificate: FILE, key: FILE}` presents one"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => "it does not accept the client certificate",
        Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            "it has no version or cipher of TLS 1.2 or 1.3 in common with squall"
        }
        Alert::NoApplicationProtocol => "it does not speak the version of HTTP that `protocol` asks for",
        Alert::UnrecognisedName => "it does not know the name; `tls: {sni: NAME}` sets the name",
        _ => return format!("it refused the handshake (alert {})", u8::from(alert)),
    };
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate | Alert::UnrecognisedName => text.to_owned(),
        _ => format!("{text} (alert {})", u8::from(alert)),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn names_are_listed_as_users_know_them() {
        let expected = ServerName::try_from("shop.test").unwrap();
        for (presented, text) in [
            (&[][..], "for no name (it has no subjectAltName), not for shop.test;"),
            (&["DnsName(\"a.test\")"], "for a.test, not for shop.test;"),
            (
                &["DnsName(\"a.test\")", "IpAddress(127.0.0.1)", "odd", "x"],
                "for a.test, 127.0.0.1, odd and others, not for",
            ),
        ] {
            let presented = presented.iter().map(|name| (*name).to_owned()).collect();
            let expected = expected.to_owned();
            let error = CertificateError::NotValidForNameContext { expected, presented };
            let words = failure(&Error::InvalidCertificate(error));
            assert!(words.contains(text), "{words}");
        }
    }

    /// No name of a type of rustls may reach a user.
    #[test]
    fn alerts_are_words_or_numbers() {
        for code in 0..=u8::MAX {
            let words = failure(&Error::AlertReceived(AlertDescription::from(code)));
            assert!(words.starts_with("it "), "{words}");
            assert!(!words.contains("Unknown(") && !words.contains("fatal"), "{words}");
        }
    }
}
