use super::*;
use proptest::prelude::*;

fn environment(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("shop".into()),
        "EMPTY" => Some(String::new()),
        "TRICK" => Some("${HOST}".into()),
        "_9" => Some("nine".into()),
        _ => None,
    }
}

/// `text` becomes the expected text, or each `${…}` listed has a problem with that message.
fn check(text: &str, expect: Result<&str, &[(&str, &str)]>) {
    let got = Expander::new(&environment).expand(text).map(Cow::into_owned);
    let got = got.map_err(|problems| {
        problems
            .into_iter()
            .map(|one| (text[one.range].to_owned(), one.message))
            .collect::<Vec<_>>()
    });
    let expect = expect.map(str::to_owned).map_err(|problems| {
        problems
            .iter()
            .map(|(part, message)| ((*part).to_owned(), (*message).to_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(got, expect, "{text}");
}

#[test]
fn expansion() {
    check("plain $HOST {x} $", Ok("plain $HOST {x} $"));
    check("http://${HOST}:${PORT:-80}/", Ok("http://shop:80/"));
    check("${EMPTY}|${EMPTY:-x}|${NONE:-}", Ok("|x|"));
    check("${NONE:-${ALSO:-${HOST}}}!", Ok("shop!"));
    check("${NONE:-a:-b}", Ok("a:-b"));
    check("${NONE:-{x}", Ok("{x"));
    check("$${HOST} ${HOST} $$ $$${HOST}", Ok("${HOST} shop $$ $${HOST}"));
    check("${TRICK}", Ok("${HOST}"));
    check("${_9}", Ok("nine"));
    check("ü${HOST}ü", Ok("üshopü"));
    check("${NONE-x}|${EMPTY-x}|${HOST-x}|${A-b}", Ok("x||shop|b"));
    check("${HOST:?no}|${HOST?no}|${EMPTY?no}", Ok("shop|shop|"));
    check("${HOST:+x}|${EMPTY:+x}|${NONE:+x}", Ok("x||"));
    check("${HOST+x}|${EMPTY+x}|${NONE+x}", Ok("x|x|"));
    check(
        "${HOST:+a ${_9} b}|${NONE:+${NONE}}|${HOST:-${NONE}}",
        Ok("a nine b||shop"),
    );
    check("${NONE:-a+b?c}|${NONE-a:-b}|${HOST:+a:b}", Ok("a+b?c|a:-b|a:b"));
}

#[test]
fn problems() {
    check(
        "a ${NONE} ${HOST} ${OTHER}",
        Err(&[
            ("${NONE}", "the variable `NONE` is not set"),
            ("${OTHER}", "the variable `OTHER` is not set"),
        ]),
    );
    check("a ${HOST", Err(&[("${HOST", "`${` is not closed with `}`")]));
    check("${9}", Err(&[("${9}", "`${9}` is not a valid variable name")]));
    check("${}", Err(&[("${}", "`${}` is not a valid variable name")]));
    check("${A:b}", Err(&[("${A:b}", "`${A:b}` is not a valid variable name")]));
    check("${A:}", Err(&[("${A:}", "`${A:}` is not a valid variable name")]));
    check("${A b}", Err(&[("${A b}", "`${A b}` is not a valid variable name")]));
    check(
        "${NONE:?set it in .env}|${EMPTY:?a ${HOST}}|${NONE?}",
        Err(&[
            (
                "${NONE:?set it in .env}",
                "the variable `NONE` is not set: set it in .env",
            ),
            ("${EMPTY:?a ${HOST}}", "the variable `EMPTY` is empty: a shop"),
            ("${NONE?}", "the variable `NONE` is not set"),
        ]),
    );
    check(
        "${NONE:-${MORE}}",
        Err(&[("${NONE:-${MORE}}", "the variable `MORE` is not set")]),
    );
    let deep = "${A:-".repeat(12) + &"}".repeat(12);
    check(&deep, Err(&[(&deep, "defaults are nested too deep")]));
}

#[test]
fn bounded() {
    let long = |_: &str| Some("x".repeat(1 << 20));
    let mut expander = Expander::new(&long);
    assert_eq!(expander.expand(&"${X}".repeat(16)).unwrap().len(), 16 << 20);
    assert!(expander.expand("${X}").unwrap_err()[0].message.contains("16 MiB"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[$}{:?+A-Cö-]{0,24}|\\PC*") {
        let _ = Expander::new(&environment).expand(&text);
    }

    #[test]
    fn escaped_text_comes_back(text in "[$}{:?+A-Cö-]{0,24}") {
        let escaped = text.replace("${", "$${");
        prop_assert_eq!(Expander::new(&environment).expand(&escaped).unwrap(), text);
    }
}
