use std::io::Write as _;

use super::*;

#[test]
fn bytes_count_until_the_last_part_is_dropped() {
    let bodies = Arc::new(Bodies::default());
    let budget = Budget::new(&bodies, 10);
    let mut charge = budget.take(8).unwrap();
    assert_eq!(charge.grow(3), Err(Full));
    charge.grow(2).unwrap();
    let body = charge.split(9).attach(Bytes::from_static(b"123456789"));
    drop(charge);
    assert_eq!(bodies.bytes(), 9);
    let part = body.slice(8..);
    drop(body);
    assert_eq!(bodies.bytes(), 9);
    drop(part);
    assert_eq!(bodies.bytes(), 0);
}

#[test]
fn each_configuration_has_a_bound_of_its_own_on_the_one_count() {
    let bodies = Arc::new(Bodies::default());
    let _before = Budget::new(&bodies, 10).take(10).unwrap();
    assert_eq!(Budget::new(&bodies, 5).take(0).unwrap_err(), Full);
    assert!(Budget::new(&bodies, 20).take(10).is_ok());
    assert_eq!(Budget::new(&bodies, usize::MAX).take(usize::MAX).unwrap_err(), Full);
}

#[test]
fn what_is_written_counts_as_it_grows() {
    let bodies = Arc::new(Bodies::default());
    let mut writing = Writing::new(&Budget::new(&bodies, 6), 100);
    writing.write_all(b"1234").unwrap();
    assert_eq!(bodies.bytes(), 4);
    assert_eq!(writing.write_all(b"567").unwrap_err().to_string(), Full.to_string());
    drop(writing);
    let mut small = Writing::new(&Budget::new(&bodies, 6), 2);
    assert_eq!(small.append(|all| all.extend(b"123")), Err(Unwritten::TooLarge));
    drop(small);
    assert_eq!(bodies.bytes(), 0);
}

#[test]
fn the_reason_is_the_text() {
    assert_eq!(Full.to_string(), Full::REASON);
    assert!(crate::metrics::SKIP_REASONS.contains(&Full::REASON));
}

#[test]
fn parsed_documents_are_not_underrated() {
    let value = size_of::<serde_json::Value>();
    assert!(parsed_size(b"[1,1,1,1]") >= 2 * 4 * value + 9);
    let (name, hash) = (size_of::<String>(), size_of::<usize>());
    let object = br#"{"a":1,"b":2}"#;
    let least = 2 * 2 * (value + name + hash);
    assert!(parsed_size(object) >= least, "{} of {least}", parsed_size(object));
    let mut node = Node::parse(object).unwrap();
    assert!(tree_size(&node) >= least);
    assert!(tree_size(node.opened()) >= least);
}
