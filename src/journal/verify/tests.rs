use super::*;
use crate::journal::Bounds;
use crate::journal::entry::testing::entry;

fn journal(requests: usize) -> Arc<Journal> {
    let journal = Journal::default();
    let bytes = 1 << 20;
    journal.configure(Some(Bounds { requests, bytes }));
    Arc::new(journal)
}

async fn ask(journal: &Arc<Journal>, text: &str) -> Answer {
    let question = Question::read(text).unwrap();
    question.answer(Arc::clone(journal)).await.unwrap()
}

fn read_error(text: &str) -> String {
    Question::read(text).unwrap_err().to_string()
}

#[tokio::test]
async fn requests_are_counted_with_evidence_and_near_misses() {
    let journal = journal(10);
    // The second one ends first.
    journal.record(entry("POST", "/pay", 50, 10, &[]));
    journal.record(entry("POST", "/pay", 0, 100, &[]));
    journal.record(entry("GET", "/pay", 60, 10, &[]));
    let answer = ask(&journal, "{match: {path: /pay, method: POST}, count: 2, wait: 0}").await;
    assert_eq!((answer.verdict, answer.count), (Verdict::Pass, 2), "{answer:?}");
    let ids: Vec<u64> = answer.evidence.iter().map(|one| one.id).collect();
    assert_eq!(ids, [2, 1], "in the order of their beginnings");
    let answer = ask(
        &journal,
        r#"{"match": {"path": "/pay", "method": "PUT"}, "wait": "1ms"}"#,
    )
    .await;
    assert_eq!(answer.verdict, Verdict::Fail);
    assert_eq!(answer.near_misses.len(), 3);
    assert_eq!(answer.near_misses[0].1, ["method PUT: the request has POST"]);
}

#[tokio::test]
async fn what_was_dropped_or_cut_leaves_doubt() {
    let journal = journal(2);
    for _ in 0..3 {
        journal.record(entry("GET", "/a", 0, 1, &[]));
    }
    let verdict = async |text: &str| ask(&journal, text).await.verdict;
    assert_eq!(verdict("{match: {path: /b}, count: 0}").await, Verdict::Inconclusive);
    assert_eq!(verdict("{match: {path: /b}, count: 0, after: 1}").await, Verdict::Pass);
    assert_eq!(verdict("{match: {path: /a}, count: {min: 2}}").await, Verdict::Pass);
    assert_eq!(verdict("{match: {path: /a}, count: {max: 1}}").await, Verdict::Fail);
    let large = "x".repeat(9000);
    journal.record(entry("GET", "/c", 0, 1, &[("x-large", &large), ("x-after", "1")]));
    let question = "{match: {path: /c, headers: {x-after: '1'}}, count: 0, after: 3}";
    assert_eq!(verdict(question).await, Verdict::Inconclusive);
    let other = "{match: {path: /other, headers: {x-after: '1'}}, count: 0, after: 3}";
    assert_eq!(verdict(other).await, Verdict::Pass, "the path was kept");
    journal.configure(None);
    assert_eq!(verdict("{}").await, Verdict::Inconclusive);
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_until_it_passes_or_cannot_any_more() {
    let journal = journal(100);
    let later = |after: u64, count: usize| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            sleep(Duration::from_millis(after)).await;
            for _ in 0..count {
                journal.record(entry("GET", "/a", 0, 1, &[]));
            }
        })
    };
    let began = Instant::now();
    later(300, 2);
    let answer = ask(&journal, "{count: 2, wait: 10s}").await;
    assert_eq!((answer.verdict, answer.count), (Verdict::Pass, 2));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    later(300, 2);
    let answer = ask(&journal, "{count: {min: 5, max: 6}, wait: 10s}").await;
    assert_eq!((answer.verdict, answer.count), (Verdict::Fail, 4), "the time is over");
    assert!(began.elapsed() >= Duration::from_secs(10));
    let began = Instant::now();
    later(300, 5);
    let answer = ask(&journal, "{count: {min: 8, max: 8}, after: 0, wait: 10s}").await;
    assert_eq!((answer.verdict, answer.count), (Verdict::Fail, 9), "one too many");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_just_ending_counts() {
    let journal = journal(100);
    journal.record(entry("GET", "/a", 0, 1, &[]));
    let recorder = Arc::clone(&journal);
    tokio::spawn(async move {
        sleep(Duration::from_millis(5)).await;
        recorder.record(entry("GET", "/a", 10, 1, &[]));
    });
    let answer = ask(&journal, "{count: 1}").await;
    assert_eq!((answer.verdict, answer.count), (Verdict::Fail, 2));
}

#[test]
fn mistakes_name_their_place() {
    insta::assert_snapshot!(read_error("{count: {min: 3, max: 2}}"));
    insta::assert_snapshot!(read_error("match: {paht: /a}\nwait: 2m\ngaps: {}\norder: []"));
    insta::assert_snapshot!(read_error("status: [5xx, 1000]\ncount: -1"));
    insta::assert_snapshot!(read_error("match: {path: {regex: '['}}"));
}

#[tokio::test]
async fn an_answer_is_shown_as_json() {
    let journal = journal(10);
    journal.record(entry("GET", "/a", 0, 1, &[]));
    let answer = ask(&journal, "{match: {path: /b}, wait: 0}").await;
    let shown = |one: &Numbered| Ok::<_, ()>(crate::journal::json::entry(one, None));
    let expected = json!({
        "verdict": "fail",
        "reason": "0 requests match; expected at least 1",
        "count": 0,
        "evidence": [],
        "near_misses": [
            {"id": 1, "method": "GET", "path": "/a", "status": 200, "failed": ["path `/b`: the request has `/a`"]},
        ],
    });
    assert_eq!(answer.to_json(shown), Ok(expected));
}
