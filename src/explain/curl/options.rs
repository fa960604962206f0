//! The options of curl, as far as reading a command line needs them: which take a value, and their letters.

/// Options that take a value: name, and letter or a blank (curl 8.17's manual; older options are kept).
pub(super) const WITH_VALUE: &[(&str, char)] = &[
    ("abstract-unix-socket", ' '),
    ("alt-svc", ' '),
    ("aws-sigv4", ' '),
    ("cacert", ' '),
    ("capath", ' '),
    ("cert", 'E'),
    ("cert-type", ' '),
    ("ciphers", ' '),
    ("config", 'K'),
    ("connect-timeout", ' '),
    ("connect-to", ' '),
    ("continue-at", 'C'),
    ("cookie", 'b'),
    ("cookie-jar", 'c'),
    ("create-file-mode", ' '),
    ("crlfile", ' '),
    ("curves", ' '),
    ("data", 'd'),
    ("data-ascii", ' '),
    ("data-binary", ' '),
    ("data-raw", ' '),
    ("data-urlencode", ' '),
    ("delegation", ' '),
    ("dns-interface", ' '),
    ("dns-ipv4-addr", ' '),
    ("dns-ipv6-addr", ' '),
    ("dns-servers", ' '),
    ("doh-url", ' '),
    ("dump-header", 'D'),
    ("ech", ' '),
    ("egd-file", ' '),
    ("engine", ' '),
    ("etag-compare", ' '),
    ("etag-save", ' '),
    ("expect100-timeout", ' '),
    ("form", 'F'),
    ("form-string", ' '),
    ("ftp-account", ' '),
    ("ftp-alternative-to-user", ' '),
    ("ftp-method", ' '),
    ("ftp-port", 'P'),
    ("ftp-ssl-ccc-mode", ' '),
    ("happy-eyeballs-timeout-ms", ' '),
    ("haproxy-clientip", ' '),
    ("header", 'H'),
    ("hostpubmd5", ' '),
    ("hostpubsha256", ' '),
    ("hsts", ' '),
    ("interface", ' '),
    ("ip-tos", ' '),
    ("ipfs-gateway", ' '),
    ("json", ' '),
    ("keepalive-cnt", ' '),
    ("keepalive-time", ' '),
    ("key", ' '),
    ("key-type", ' '),
    ("knownhosts", ' '),
    ("krb", ' '),
    ("libcurl", ' '),
    ("limit-rate", ' '),
    ("local-port", ' '),
    ("login-options", ' '),
    ("mail-auth", ' '),
    ("mail-from", ' '),
    ("mail-rcpt", ' '),
    ("max-filesize", ' '),
    ("max-redirs", ' '),
    ("max-time", 'm'),
    ("netrc-file", ' '),
    ("noproxy", ' '),
    ("oauth2-bearer", ' '),
    ("output", 'o'),
    ("output-dir", ' '),
    ("parallel-max", ' '),
    ("parallel-max-host", ' '),
    ("pass", ' '),
    ("pinnedpubkey", ' '),
    ("preproxy", ' '),
    ("proto", ' '),
    ("proto-default", ' '),
    ("proto-redir", ' '),
    ("proxy", 'x'),
    ("proxy-cacert", ' '),
    ("proxy-capath", ' '),
    ("proxy-cert", ' '),
    ("proxy-cert-type", ' '),
    ("proxy-ciphers", ' '),
    ("proxy-crlfile", ' '),
    ("proxy-header", ' '),
    ("proxy-key", ' '),
    ("proxy-key-type", ' '),
    ("proxy-pass", ' '),
    ("proxy-pinnedpubkey", ' '),
    ("proxy-service-name", ' '),
    ("proxy-tls13-ciphers", ' '),
    ("proxy-tlsauthtype", ' '),
    ("proxy-tlspassword", ' '),
    ("proxy-tlsuser", ' '),
    ("proxy-user", 'U'),
    ("proxy1.0", ' '),
    ("pubkey", ' '),
    ("quote", 'Q'),
    ("random-file", ' '),
    ("range", 'r'),
    ("rate", ' '),
    ("referer", 'e'),
    ("request", 'X'),
    ("request-target", ' '),
    ("resolve", ' '),
    ("retry", ' '),
    ("retry-delay", ' '),
    ("retry-max-time", ' '),
    ("sasl-authzid", ' '),
    ("service-name", ' '),
    ("sigalgs", ' '),
    ("socks4", ' '),
    ("socks4a", ' '),
    ("socks5", ' '),
    ("socks5-gssapi-service", ' '),
    ("socks5-hostname", ' '),
    ("speed-limit", 'Y'),
    ("speed-time", 'y'),
    ("ssl-sessions", ' '),
    ("stderr", ' '),
    ("telnet-option", 't'),
    ("tftp-blksize", ' '),
    ("time-cond", 'z'),
    ("tls-max", ' '),
    ("tls13-ciphers", ' '),
    ("tlsauthtype", ' '),
    ("tlspassword", ' '),
    ("tlsuser", ' '),
    ("trace", ' '),
    ("trace-ascii", ' '),
    ("trace-config", ' '),
    ("unix-socket", ' '),
    ("upload-file", 'T'),
    ("upload-flags", ' '),
    ("url", ' '),
    ("url-query", ' '),
    ("user", 'u'),
    ("user-agent", 'A'),
    ("variable", ' '),
    ("vlan-priority", ' '),
    ("write-out", 'w'),
];

/// Options without a value; each has a `--no-` form.
pub(super) const PLAIN: &[(&str, char)] = &[
    ("anyauth", ' '),
    ("append", 'a'),
    ("basic", ' '),
    ("buffer", ' '),
    ("ca-native", ' '),
    ("cert-status", ' '),
    ("clobber", ' '),
    ("compressed", ' '),
    ("compressed-ssh", ' '),
    ("create-dirs", ' '),
    ("crlf", ' '),
    ("digest", ' '),
    ("disable", 'q'),
    ("disable-eprt", ' '),
    ("disable-epsv", ' '),
    ("disallow-username-in-url", ' '),
    ("doh-cert-status", ' '),
    ("doh-insecure", ' '),
    ("dump-ca-embed", ' '),
    ("fail", 'f'),
    ("fail-early", ' '),
    ("fail-with-body", ' '),
    ("false-start", ' '),
    ("follow", ' '),
    ("form-escape", ' '),
    ("ftp-create-dirs", ' '),
    ("ftp-pasv", ' '),
    ("ftp-pret", ' '),
    ("ftp-skip-pasv-ip", ' '),
    ("ftp-ssl-ccc", ' '),
    ("ftp-ssl-control", ' '),
    ("get", 'G'),
    ("globoff", 'g'),
    ("haproxy-protocol", ' '),
    ("head", 'I'),
    ("help", 'h'),
    ("http0.9", ' '),
    ("http1.0", '0'),
    ("http1.1", ' '),
    ("http2", ' '),
    ("http2-prior-knowledge", ' '),
    ("http3", ' '),
    ("http3-only", ' '),
    ("ignore-content-length", ' '),
    ("include", 'i'),
    ("insecure", 'k'),
    ("ipv4", '4'),
    ("ipv6", '6'),
    ("junk-session-cookies", 'j'),
    ("keepalive", ' '),
    ("list-only", 'l'),
    ("location", 'L'),
    ("location-trusted", ' '),
    ("mail-rcpt-allowfails", ' '),
    ("manual", 'M'),
    ("metalink", ' '),
    ("mptcp", ' '),
    ("negotiate", ' '),
    ("netrc", 'n'),
    ("netrc-optional", ' '),
    ("next", ':'),
    ("no-alpn", ' '),
    ("no-buffer", 'N'),
    ("no-clobber", ' '),
    ("no-keepalive", ' '),
    ("no-npn", ' '),
    ("no-progress-meter", ' '),
    ("no-sessionid", ' '),
    ("ntlm", ' '),
    ("ntlm-wb", ' '),
    ("out-null", ' '),
    ("parallel", 'Z'),
    ("parallel-immediate", ' '),
    ("path-as-is", ' '),
    ("post301", ' '),
    ("post302", ' '),
    ("post303", ' '),
    ("progress-bar", '#'),
    ("progress-meter", ' '),
    ("proxy-anyauth", ' '),
    ("proxy-basic", ' '),
    ("proxy-ca-native", ' '),
    ("proxy-digest", ' '),
    ("proxy-http2", ' '),
    ("proxy-insecure", ' '),
    ("proxy-negotiate", ' '),
    ("proxy-ntlm", ' '),
    ("proxy-ssl-allow-beast", ' '),
    ("proxy-ssl-auto-client-cert", ' '),
    ("proxy-tlsv1", ' '),
    ("proxytunnel", 'p'),
    ("raw", ' '),
    ("remote-header-name", 'J'),
    ("remote-name", 'O'),
    ("remote-name-all", ' '),
    ("remote-time", 'R'),
    ("remove-on-error", ' '),
    ("retry-all-errors", ' '),
    ("retry-connrefused", ' '),
    ("sasl-ir", ' '),
    ("sessionid", ' '),
    ("show-error", 'S'),
    ("show-headers", ' '),
    ("silent", 's'),
    ("skip-existing", ' '),
    ("socks5-basic", ' '),
    ("socks5-gssapi", ' '),
    ("socks5-gssapi-nec", ' '),
    ("ssl", ' '),
    ("ssl-allow-beast", ' '),
    ("ssl-auto-client-cert", ' '),
    ("ssl-no-revoke", ' '),
    ("ssl-reqd", ' '),
    ("ssl-revoke-best-effort", ' '),
    ("sslv2", '2'),
    ("sslv3", '3'),
    ("styled-output", ' '),
    ("suppress-connect-headers", ' '),
    ("tcp-fastopen", ' '),
    ("tcp-nodelay", ' '),
    ("tftp-no-options", ' '),
    ("tls-earlydata", ' '),
    ("tlsv1", '1'),
    ("tlsv1.0", ' '),
    ("tlsv1.1", ' '),
    ("tlsv1.2", ' '),
    ("tlsv1.3", ' '),
    ("tr-encoding", ' '),
    ("trace-ids", ' '),
    ("trace-time", ' '),
    ("use-ascii", 'B'),
    ("verbose", 'v'),
    ("version", 'V'),
    ("xattr", ' '),
];

/// What an option on the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WithValue(&'static str),
    Plain(&'static str),
    /// `--no-…`
    Off(&'static str),
}

/// An option by its name, without the two dashes.
pub(super) fn by_name(name: &str) -> Option<Kind> {
    let find = |table: &'static [(&'static str, char)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(known, _)| *known)
    };
    find(WITH_VALUE, name)
        .map(Kind::WithValue)
        .or_else(|| find(PLAIN, name).map(Kind::Plain))
        .or_else(|| find(PLAIN, name.strip_prefix("no-")?).map(Kind::Off))
}

/// An option by its letter.
pub(super) fn by_letter(letter: char) -> Option<Kind> {
    let find = |table: &'static [(&'static str, char)]| {
        table
            .iter()
            .find(|(_, known)| *known == letter && letter != ' ')
            .map(|(name, _)| *name)
    };
    find(WITH_VALUE)
        .map(Kind::WithValue)
        .or_else(|| find(PLAIN).map(Kind::Plain))
}

/// All names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    WITH_VALUE.iter().chain(PLAIN).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_letters_are_unique() {
        let mut seen = HashSet::new();
        assert!(names().all(|name| seen.insert(name)));
        let mut seen = HashSet::new();
        let letters = WITH_VALUE
            .iter()
            .chain(PLAIN)
            .map(|(_, letter)| *letter)
            .filter(|letter| *letter != ' ');
        letters.for_each(|letter| assert!(seen.insert(letter), "{letter}"));
    }

    #[test]
    fn lookups() {
        assert_eq!(by_name("header"), Some(Kind::WithValue("header")));
        assert_eq!(by_name("no-compressed"), Some(Kind::Off("compressed")));
        assert_eq!(by_name("no-header"), None);
        assert_eq!(by_letter('s'), Some(Kind::Plain("silent")));
        assert_eq!(by_letter(' '), None);
    }
}
