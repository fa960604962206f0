//! Splits a shell command line into words, as far as copied curl commands need it.

/// Splits a line like a shell: quotes, backslashes, continued lines, comments, and bash's `$'…'`, which browsers use for
/// "Copy as cURL". Anything after a pipe, a redirection or another command is dropped.
///
/// # Errors
/// A quote that is not closed.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let plain = without_ansi_quotes(line).ok_or("unclosed quote")?;
    let words = shell_words::split(&plain).map_err(|_| "unclosed quote")?;
    let ends = |word: &String| {
        let bare = word.trim_start_matches(['1', '2', '&']);
        matches!(word.as_str(), "|" | "||" | "&&" | ";" | "&") || bare.starts_with('>')
    };
    Ok(words
        .into_iter()
        .take_while(|word| !ends(word))
        .map(|word| word.trim_end_matches(['\r']).to_owned())
        .collect())
}

/// Rewrites each `$'…'` as an ordinary quoted string. `None` if one is not closed.
fn without_ansi_quotes(line: &str) -> Option<String> {
    let mut plain = String::with_capacity(line.len());
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '$') if letters.peek() == Some(&'\'') => {
                letters.next();
                plain.push_str(&shell_words::quote(&ansi_quoted(&mut letters)?));
                continue;
            }
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '\\') => {
                plain.push(letter);
                plain.extend(letters.next());
                continue;
            }
            _ => {}
        }
        plain.push(letter);
    }
    Some(plain)
}

/// Reads the text of a `$'…'` from after its opening quote (bash manual, section 3.1.2.4).
fn ansi_quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let letter = match letters.next()? {
            '\'' => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            '\\' => match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => {
                    bytes.push(u8::try_from(number(letters, 2)).unwrap_or(b'?'));
                    continue;
                }
                'u' => char::from_u32(number(letters, 4)).unwrap_or(char::REPLACEMENT_CHARACTER),
                'U' => char::from_u32(number(letters, 8)).unwrap_or(char::REPLACEMENT_CHARACTER),
                other => other,
            },
            other => other,
        };
        bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Reads up to `most` hexadecimal digits.
fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, most: usize) -> u32 {
    let mut number = 0;
    for _ in 0..most {
        let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(16)) else {
            break;
        };
        number = number << 4 | digit;
        letters.next();
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Result<&[&str], &str>) {
        let expect = expect.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(split(line), expect.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn lines() {
        check("curl 'a b' \"c d\" e\\ f", Ok(&["curl", "a b", "c d", "e f"]));
        check("curl \\\n  -H 'a: b' \\\n  x", Ok(&["curl", "-H", "a: b", "x"]));
        check("curl $'it\\'s \\u00fc\\x21\\n' x$'y'", Ok(&["curl", "it's ü!\n", "xy"]));
        check("curl \"$'a'\" '$'", Ok(&["curl", "$'a'", "$"]));
        check("curl -s x | jq . > y", Ok(&["curl", "-s", "x"]));
        check("curl x 2>/dev/null", Ok(&["curl", "x"]));
        check("curl x   # untouched", Ok(&["curl", "x"]));
        check("curl 'x", Err("unclosed quote"));
        check("curl $'x", Err("unclosed quote"));
    }
}
