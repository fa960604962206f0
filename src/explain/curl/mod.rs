//! Parses a curl command line to the request that it would send.
//!
//! All options of curl are known by name, so that values are never taken for URLs. Options that change the head are applied;
//! the others are skipped. What the line does not tell (a file's content, a password that
//! curl would prompt for) is listed in [`Call::notes`].

mod options;
mod send;
mod words;

use std::path::{Path, PathBuf};

use self::options::Kind;
use super::call::Call;
use crate::yaml::report::did_you_mean;

/// Parses a line as it would be typed into a shell.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn parse(line: &str) -> Result<Call, String> {
    parse_words(&words::split(line)?)
}

/// Parses a line that is already split into words, with or without the leading `curl`.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn parse_words(words: &[String]) -> Result<Call, String> {
    let prompt = usize::from(words.first().is_some_and(|word| word == "$"));
    let words = words.get(prompt..).unwrap_or_default();
    let program = words
        .first()
        .and_then(|word| Path::new(word).file_stem())
        .is_some_and(|name| name == "curl");
    let mut line = Line::default();
    let mut words = words.iter().skip(usize::from(program)).map(String::as_str);
    let mut options = true;
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some("") if options => options = false,
            Some(name) if options => line.long(name, &mut words)?,
            _ => match word.strip_prefix('-') {
                Some(letters) if options && !letters.is_empty() => line.short(letters, &mut words)?,
                _ => line.urls.push(word.to_owned()),
            },
        }
    }
    line.call()
}

/// The options that concern the request.
#[derive(Debug, Default)]
pub struct Line {
    urls: Vec<String>,
    method: Option<String>,
    headers: Vec<String>,
    /// The body's pieces: name of the option and value.
    data: Vec<(&'static str, String)>,
    /// Whether to leave out curl's own fields (User-Agent, Accept).
    bare: bool,
    head: bool,
    get: bool,
    form: bool,
    globoff: bool,
    compressed: bool,
    /// An authentication scheme whose first request has no Authorization field.
    handshake: Option<&'static str>,
    upload: Option<String>,
    agent: Option<String>,
    referer: Option<String>,
    cookies: Vec<String>,
    range: Option<String>,
    user: Option<String>,
    bearer: Option<String>,
    url_queries: Vec<String>,
    request_target: Option<String>,
    proxy: Option<String>,
    socket: Option<PathBuf>,
    connect_to: Vec<String>,
    notes: Vec<String>,
}

impl Line {
    /// A request without curl's own fields, except those that a body needs.
    pub fn bare(url: &str, method: Option<String>, headers: Vec<String>, data: &[String]) -> Line {
        Line::with(
            url,
            method,
            headers,
            data.iter().map(|text| ("data", text.clone())).collect(),
        )
    }

    /// A request as [`Line::bare`] makes it, with this text as its body.
    pub fn with_body(url: &str, method: Option<String>, headers: Vec<String>, body: Option<&str>) -> Line {
        let data = body.map(|text| ("data-raw", text.to_owned()));
        Line::with(url, method, headers, data.into_iter().collect())
    }

    fn with(url: &str, method: Option<String>, headers: Vec<String>, data: Vec<(&'static str, String)>) -> Line {
        Line {
            urls: vec![url.to_owned()],
            method,
            headers,
            data,
            bare: true,
            ..Line::default()
        }
    }

    fn long<'w>(&mut self, name: &str, words: &mut impl Iterator<Item = &'w str>) -> Result<(), String> {
        match options::by_name(name) {
            Some(Kind::WithValue(option)) => match words.next() {
                Some(value) => self.value(option, value),
                None => Err(format!("`--{option}` needs a value")),
            },
            Some(Kind::Plain(option)) => self.plain(option, true),
            Some(Kind::Off(option)) => self.plain(option, false),
            None => Err(match (name.split_once('='), did_you_mean(name, options::names())) {
                (Some((option, _)), _) if options::by_name(option).is_some() => {
                    format!("curl has no `--{name}`: give the value as a separate word: `--{option} …`")
                }
                (_, Some(near)) => format!("curl has no option `--{name}`; did you mean `--{near}`?"),
                (_, None) => format!("curl has no option `--{name}`"),
            }),
        }
    }

    /// Parses short options such as `-sSX POST` and `-XPOST`, up to the first that takes a value.
    fn short<'w>(&mut self, letters: &str, words: &mut impl Iterator<Item = &'w str>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            match options::by_letter(letter) {
                Some(Kind::WithValue(option)) => {
                    let rest = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
                    return match rest.or_else(|| words.next()) {
                        Some(value) => self.value(option, value),
                        None => Err(format!("`-{letter}` needs a value")),
                    };
                }
                Some(Kind::Plain(option) | Kind::Off(option)) => self.plain(option, true)?,
                None => return Err(format!("curl has no option `-{letter}`")),
            }
        }
        Ok(())
    }

    fn value(&mut self, option: &'static str, value: &str) -> Result<(), String> {
        let value = value.to_owned();
        match option {
            "url" => self.urls.push(value),
            "request" => self.method = Some(value),
            "header" => self.header(value),
            "data" | "data-ascii" | "data-binary" | "data-raw" | "data-urlencode" | "json" => {
                self.data.push((option, value))
            }
            "form" | "form-string" => self.form = true,
            "user-agent" => self.agent = Some(value),
            "referer" => self.referer = Some(value),
            "cookie" if value.contains('=') => self.cookies.push(value),
            "cookie" if !value.is_empty() => self.notes.push(format!("cookies from the file `{value}` are left out")),
            "user" => self.user = Some(value),
            "oauth2-bearer" => self.bearer = Some(value),
            "aws-sigv4" => self.notes.push("the AWS signature is left out".into()),
            "upload-file" => self.upload = Some(value),
            "range" => self.range = Some(value),
            "continue-at" if value == "-" => self.notes.push("the Range field of `-C -` is left out".into()),
            "continue-at" if value != "0" => self.range = Some(format!("{value}-")),
            "time-cond" => self
                .notes
                .push("the If-Modified-Since field of `-z` is left out".into()),
            "etag-compare" => self
                .notes
                .push(format!("the If-None-Match field of the file `{value}` is left out")),
            "netrc-file" => self.notes.push(format!("passwords in `{value}` are left out")),
            "url-query" => self.url_queries.push(value),
            "request-target" => self.request_target = Some(value),
            "proxy" | "proxy1.0" => self.proxy = Some(value),
            "preproxy" | "socks4" | "socks4a" | "socks5" | "socks5-hostname" => {
                self.notes.push(format!(
                    "`--{option}` is left out: the request is explained as if sent straight to squall"
                ));
            }
            "unix-socket" => self.socket = Some(value.into()),
            "connect-to" => self.connect_to.push(value),
            "config" => {
                return Err(format!(
                    "squall can't see what curl would read from `{value}`: write it on the command line"
                ));
            }
            "variable" => return Err("curl's `--variable` is not supported: write the values out".into()),
            _ => {}
        }
        Ok(())
    }

    fn plain(&mut self, option: &'static str, on: bool) -> Result<(), String> {
        match option {
            "head" => self.head = on,
            "get" => self.get = on,
            "globoff" => self.globoff = on,
            "compressed" => self.compressed = on,
            "digest" | "ntlm" | "ntlm-wb" | "negotiate" | "anyauth" => self.handshake = on.then_some(option),
            "basic" => self.handshake = None,
            "netrc" | "netrc-optional" if on => self.notes.push("passwords in ~/.netrc are left out".into()),
            "next" => return Err("the command makes several requests (`--next`): explain them one by one".into()),
            "help" | "manual" | "version" => return Err(format!("`curl --{option}` sends no request")),
            _ => {}
        }
        Ok(())
    }

    fn header(&mut self, value: String) {
        match value.strip_prefix('@') {
            Some(file) => self.notes.push(format!("header fields from `{file}` are left out")),
            None => self.headers.push(value),
        }
    }
}

#[cfg(test)]
mod tests;
