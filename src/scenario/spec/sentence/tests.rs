use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<SentenceSpec, String> {
    text.parse()
}

fn order(text: &str) -> Order {
    parse(text).unwrap().order
}

#[test]
fn the_examples_are_valid() {
    for (_, example) in EXAMPLES {
        for sentence in example.split("`, or `") {
            assert_eq!(parse(sentence).unwrap().to_string(), sentence);
        }
    }
}

#[test]
fn rules_are_named_with_or_without_quotes() {
    let rules = |names: &[&str]| Order::Switch {
        rules: names.iter().map(|name| (*name).to_owned()).collect(),
        on: true,
    };
    assert_eq!(order("enable outage"), rules(&["outage"]));
    assert_eq!(order("enable  'slow db','a b' and c"), rules(&["slow db", "a b", "c"]));
    assert_eq!(
        parse("enable outage for 1m30s").unwrap().lasting,
        Some(Duration::from_secs(90))
    );
}

#[test]
fn curves_are_read() {
    let shape = |property, curve| Order::Shape {
        rule: "slow db".into(),
        property,
        curve,
    };
    assert_eq!(
        order("ramp delay of \"slow db\" from 50ms to 2s over 5m"),
        shape(
            Property::Delay,
            Curve::Ramp {
                from: 0.05,
                to: 2.0,
                over: Duration::from_secs(300)
            }
        )
    );
    assert_eq!(
        order("step percentage of 'slow db' through 1%, 5%,20% every 30s"),
        shape(
            Property::Percentage,
            Curve::Steps {
                values: vec![1.0, 5.0, 20.0],
                every: Duration::from_secs(30)
            }
        )
    );
    assert_eq!(
        order("hold bandwidth of 'slow db' at 1KiB/s for 5s"),
        shape(Property::Bandwidth, Curve::Hold(1024.0))
    );
    assert_eq!(order("hold 5s"), Order::Pause(Duration::from_secs(5)));
}

#[test]
fn mistakes_name_the_word_and_show_a_valid_sentence() {
    let sentences = [
        "",
        "enabel outage",
        "enable",
        "enable slow db",
        "enable \"slow db",
        "ramp delay of slow db from 1s to 2s over 1m",
        "ramp latency of db from 1s to 2s over 1m",
        "ramp delay of db from 1 to 2s over 1m",
        "ramp delay of db from 1s to 2s",
        "step percentage of db through 1%, every 30s",
        "wave delay of db between 1s and 2s every 1m as zigzag",
        "hold",
        "revert db for 5s",
    ];
    let lines: Vec<String> = sentences
        .iter()
        .map(|text| format!("{text}\n  {}", parse(text).unwrap_err()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    #[test]
    fn any_text_is_a_sentence_or_an_error(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_words_are_a_sentence_or_an_error(words in prop::collection::vec(
        prop::sample::select(vec![
            "enable", "ramp", "step", "wave", "hold", "of", "delay", "percentage", "\"a b\"", "'", ",", "from", "to",
            "1s", "5%", "over", "every", "for", "between", "and", "as", "sine", "through", "at",
        ]), 0..16)
    ) {
        let _ = parse(&words.join(" "));
    }
}
