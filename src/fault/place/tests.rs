use super::*;
use crate::draw::{KeyHash, Seed};

#[test]
fn places_are_bytes_shares_and_messages() {
    let place = |text: &str| text.parse::<AfterSpec>().map(|after| after.to_string());
    for (text, canonical) in [
        ("1KiB", "1KiB"),
        ("0", "0B"),
        ("12.5%", "12.5%"),
        ("3 events", "3 messages"),
        ("1 event", "1 message"),
        ("2messages", "2 messages"),
    ] {
        assert_eq!(place(text).as_deref(), Ok(canonical), "{text}");
        assert_eq!(place(canonical).as_deref(), Ok(canonical), "{text}");
    }
    for (text, part) in [
        (
            "lunch",
            "is not a valid place in a body: use bytes (1KiB), a share (50%) or messages (3 events)",
        ),
        (
            "events",
            "`events` is not a valid number of events: use a whole number: 3 events",
        ),
        ("2.5 messages", "use a whole number: 3 messages"),
        ("-1 event", "use a whole number"),
        ("101%", "from 0 to 100"),
        ("-1KiB", "can't be negative"),
        ("3 lines", "`lines` is not a valid unit of size"),
        ("", "is not a valid place in a body"),
    ] {
        let error = place(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_place_may_be_a_map() {
    let place = |yaml: &str| testing::read::<AfterSpec>(yaml);
    assert_eq!(place("{events: 3}"), Ok(AfterSpec::Messages(3)));
    assert_eq!(place("{messages: 0}"), Ok(AfterSpec::Messages(0)));
    assert_eq!(place("64"), Ok(AfterSpec::Bytes(ByteSize::from_bytes(64))));
    assert!(place("{events: 3, messages: 3}").unwrap_err().contains("mean the same"));
    assert!(place("{}").unwrap_err().contains("the place is missing"));
    assert!(place("{lines: 3}").unwrap_err().contains("unknown key"));
    assert!(place("true").unwrap_err().contains("a place in a body"));
}

#[test]
fn seeds_come_from_the_draw_and_the_position() {
    let pick = Pick::Share { ppm: 1, seed: 0 };
    let flip = Act::Corrupt(Corruption {
        ppm: 0,
        messages: Some(pick),
        seed: 0,
    });
    let parts = Parts::one(Direction::Response, flip);
    let seeds = |draw: Draw, position| match &parts.drawn(draw, position)[0].act {
        Act::Corrupt(Corruption {
            messages: Some(Pick::Share { seed: messages, .. }),
            seed,
            ..
        }) => (*seed, *messages),
        other => panic!("{other:?}"),
    };
    let draw = |ordinal| Seed(1).rule("r").draw(KeyHash::ordinal(ordinal));
    let first = seeds(draw(0), 0);
    assert_eq!(first, seeds(draw(0), 0), "the same request, the same seeds");
    assert_ne!(first.0, first.1, "which messages has nothing to do with which bytes");
    for other in [seeds(draw(1), 0), seeds(draw(0), 1)] {
        assert!(first.0 != other.0 && first.1 != other.1, "{other:?}");
    }
}
