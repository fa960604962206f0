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
