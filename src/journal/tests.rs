use std::time::Duration;

use super::entry::testing::entry;
use super::*;

fn journal(requests: usize) -> Journal {
    let journal = Journal::default();
    journal.configure(Some(Bounds {
        requests,
        bytes: 1 << 20,
    }));
    journal
}

fn paths(page: &Page) -> Vec<String> {
    page.entries
        .iter()
        .map(|one| one.entry.head.target().into_owned())
        .collect()
}

#[test]
fn requests_go_to_the_ring_of_their_space() {
    let journal = journal(2);
    journal.record(entry("GET", "/0", 0, 1, &[("squall-space", "a")]));
    journal.open("a");
    journal.record(entry("GET", "/1", 0, 1, &[("squall-space", "a")]));
    journal.record(entry("GET", "/2", 0, 1, &[]));
    journal.record(entry("GET", "/3", 0, 1, &[("squall-space", "b")]));
    let space = |name: &str| journal.read(&Of::Space(name.into()), 0);
    assert_eq!(paths(&space("a")), ["/1"]);
    assert_eq!(
        paths(&space("b")),
        ["/3"],
        "not open, so it is found in the shared ring"
    );
    assert_eq!(paths(&journal.read(&Of::NoSpace, 0)), ["/2"]);
    assert_eq!(paths(&journal.read(&Of::All, 0)), ["/1", "/2", "/3"]);
    assert_eq!(paths(&journal.read(&Of::All, 2)), ["/2", "/3"]);
    assert_eq!((journal.read(&Of::All, 0).dropped, journal.dropped()), (1, 1));
    assert!(journal.read(&Of::All, 0).incomplete && !journal.read(&Of::All, 1).incomplete);
    assert!(!space("a").incomplete, "another space's requests drop none of this one");

    for number in 4..9 {
        journal.record(entry("GET", &format!("/{number}"), 0, 1, &[("squall-space", "a")]));
    }
    assert_eq!(paths(&space("a")), ["/7", "/8"]);
    journal.close("a");
    assert_eq!(paths(&space("a")), [""; 0]);
    assert_eq!(journal.dropped(), 5, "a closed space's count too");
}

#[test]
fn a_journal_that_is_off_is_empty() {
    let journal = journal(2);
    journal.record(entry("GET", "/0", 0, 1, &[]));
    journal.configure(None);
    assert!(!journal.is_on());
    journal.record(entry("GET", "/1", 0, 1, &[]));
    assert_eq!(paths(&journal.read(&Of::All, 0)), [""; 0]);
}

#[test]
fn many_spaces_share_the_memory() {
    let journal = journal(100_000);
    let fill = |space: &str| {
        for _ in 0..3000 {
            journal.record(entry("GET", "/", 0, 1, &[("squall-space", space)]));
        }
        let page = journal.read(&Of::Space(space.into()), 0);
        page.entries.iter().map(|one| one.entry.size()).sum::<usize>()
    };
    journal.open("first");
    let alone = fill("first");
    assert!((900 << 10..=1 << 20).contains(&alone), "{alone}");
    for number in 0..100 {
        journal.open(&number.to_string());
    }
    let read = |space: &str| journal.read(&Of::Space(space.into()), 0).entries.len();
    assert!(read("first") < 1000, "it gave its memory away");
    let each = fill("7");
    assert!((70 << 10..=(8 << 20) / 102).contains(&each), "{each}");
    for number in 0..100 {
        journal.close(&number.to_string());
    }
    assert!(fill("first") > 900 << 10, "it got it back");
}

#[test]
fn an_entry_is_found_by_its_number() {
    let journal = journal(3);
    journal.open("a");
    for number in 1..6 {
        journal.record(entry("GET", &format!("/{number}"), 0, 1, &[]));
    }
    let found = |id| journal.find(id).map(|one| one.entry.head.target().into_owned());
    assert_eq!(found(4).as_deref(), Some("/4"));
    assert_eq!((found(1), found(6), found(0)), (None, None, None));
}

#[tokio::test]
async fn nobody_waits_for_an_entry_in_vain() {
    let journal = Arc::new(journal(10_000));
    for round in 1..200u64 {
        let recorder = Arc::clone(&journal);
        let recording = tokio::task::spawn_blocking(move || recorder.record(entry("GET", "/", 0, 1, &[])));
        let look = || (journal.read(&Of::All, 0).entries.len() as u64 >= round).then_some(());
        tokio::time::timeout(Duration::from_secs(5), journal.until(look))
            .await
            .unwrap();
        recording.await.unwrap();
    }
    assert_eq!(journal.waiting.load(Ordering::Relaxed), 0);
}
