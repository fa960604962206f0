//! What a recording lacks, in words.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use http::StatusCode;

use super::load::{Recorded, Recording};
use super::{ResponseSeries, show};

/// How many entries or requests are named for each thing that is lacking.
const NAMED_LIMIT: usize = 5;

/// A message, and lines of help.
pub(super) type Note = (String, Vec<String>);

/// Which entries are not served, and why.
pub(super) fn left_out(file: &str, recording: &Recording) -> Option<Note> {
    let count: usize = recording.left_out.iter().map(|(_, entries)| entries.len()).sum();
    let reasons = recording
        .left_out
        .iter()
        .map(|(reason, entries)| format!("{} × {reason}", entries.len()));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    let of = recording.entries;
    let are = if count == 1 { "is" } else { "are" };
    let message = format!("{file}: {count} of {of} entries {are} not served: {reasons}");
    let help = recording.left_out.iter().map(|(reason, entries)| {
        let places = entries.iter().map(|index| Cow::Owned(format!("/log/entries/{index}")));
        format!("{reason}: {}", some(places))
    });
    (count > 0).then(|| (message, help.collect()))
}

/// Which requests were recorded of several hosts: their responses are given in turn.
pub(super) fn several_hosts(file: &str, series: &HashMap<String, ResponseSeries>) -> Option<Note> {
    let hosts = |series: &ResponseSeries| -> BTreeSet<String> {
        let hosts = series.responses.iter().map(|one| one.host.clone());
        hosts.filter(|host| !host.is_empty()).collect()
    };
    let mixed: Vec<_> = series.values().filter(|series| hosts(series).len() > 1).collect();
    let all: BTreeSet<_> = mixed.iter().flat_map(|series| hosts(series)).collect();
    let mut shown: Vec<_> = mixed.iter().filter_map(|series| series.responses.first()).collect();
    shown.sort_by_key(|one| show(&one.request));
    let (count, requests) = (
        shown.len(),
        if shown.len() == 1 {
            "request was"
        } else {
            "requests were"
        },
    );
    let message = format!("{file}: {count} {requests} recorded of several hosts, whose responses are given in turn");
    let help = vec![
        some(shown.into_iter().map(|one| show(&one.request).into())),
        format!(
            "keep those of one with `host`: {}",
            some(all.into_iter().map(Cow::Owned))
        ),
    ];
    (count > 0).then_some((message, help))
}

/// Which responses are served without what the server sent, or as another status than was recorded.
pub(super) fn incomplete(file: &str, series: &HashMap<String, ResponseSeries>) -> Vec<Note> {
    let all = || {
        series
            .values()
            .flat_map(|series| series.responses.iter().map(move |one| (series, &**one)))
    };
    let replaced = |series: &ResponseSeries| !series.complete.is_empty();
    let mut notes = Vec::new();
    let mut note = |message: &str, applies: &dyn Fn(&ResponseSeries, &Recorded) -> bool| {
        let found = all().filter(|(series, one)| applies(series, one));
        let mut shown: Vec<_> = found.map(|(_, one)| show(&one.request)).collect();
        if shown.is_empty() {
            return;
        }
        let count = shown.len();
        let plural = if count == 1 { "response" } else { "responses" };
        shown.sort();
        shown.dedup();
        notes.push((
            format!("{file}: {count} {plural} {message}"),
            vec![some(shown.into_iter().map(Cow::Owned))],
        ));
    };
    note(
        "whose body was not recorded, served with an empty one",
        &|series, one| one.incomplete && !replaced(series),
    );
    note(
        "whose body was not recorded, left out for others to the same request",
        &|series, one| one.incomplete && replaced(series),
    );
    let unmodified = |one: &Recorded| one.status == StatusCode::NOT_MODIFIED;
    note(
        "with status 304, served as 200 with the recorded body where no copy is asked about",
        &|_, one| unmodified(one) && !one.body.is_empty(),
    );
    note(
        "with status 304 and without a body, which a client without a copy can't use",
        &|series, one| unmodified(one) && one.body.is_empty() && !replaced(series),
    );
    notes
}

fn some(names: impl ExactSizeIterator<Item = Cow<'static, str>>) -> String {
    let more = names.len().saturating_sub(NAMED_LIMIT);
    let mut named: Vec<_> = names.take(NAMED_LIMIT).collect();
    if more > 0 {
        named.push(format!("and {more} more").into());
    }
    named.join(", ")
}
