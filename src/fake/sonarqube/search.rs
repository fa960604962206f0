//! Finds issues: filters, counts, sorts, and keeps one page.
//!
//! Nothing is stored: an issue is drawn from the seed when a search looks at it, which takes well below a microsecond. What
//! a search keeps is the best results up to the end of its page, at most 10,000.

use std::collections::BinaryHeap;

use super::facet::{Facet, listed};
use super::issue::Issue;
use super::query::{Filter, Query, Sort};
use super::rules::STATUSES;
use super::world::World;

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct SearchResult {
    pub(super) total: u64,
    /// Of all results, in minutes.
    pub(super) effort: u64,
    /// The issues of the page.
    pub(super) page: Vec<u32>,
    /// For each facet that was asked for, its values with their counts.
    pub(super) facets: Vec<(Facet, Vec<(String, u64)>)>,
}

pub(super) fn search(world: &World, query: &Query) -> SearchResult {
    let mut found = SearchResult::default();
    let mut sums: Vec<Vec<u64>> = query.facets.iter().map(|facet| vec![0; facet.count(world)]).collect();
    let mut best = Best::new(query);
    let mut look = |index: u32| {
        let issue = world.issue(index);
        // A facet counts what its own filter leaves out, too.
        let failed = failed(issue, query);
        if failed == 0 {
            found.total += 1;
            found.effort += u64::from(issue.effort());
            best.add(issue);
        }
        for (facet, sums) in query.facets.iter().zip(&mut sums) {
            if failed & !facet.bit() != 0 {
                continue;
            }
            let more = if query.by_effort { u64::from(issue.effort()) } else { 1 };
            for value in facet.values(issue) {
                if let Some(sum) = sums.get_mut(value) {
                    *sum += more;
                }
            }
        }
    };
    // The latest issues come first, which is also an order to sort by.
    let backwards = query.sort == Some(Sort::CreationDate) && query.ascending;
    match &query.only {
        Some(only) if backwards => only.iter().rev().copied().for_each(&mut look),
        Some(only) => only.iter().copied().for_each(&mut look),
        None if backwards => (0..world.issues).rev().for_each(&mut look),
        None => (0..world.issues).for_each(&mut look),
    }
    found.page = best.page(query);
    let facets = query.facets.iter().zip(sums);
    found.facets = facets
        .map(|(facet, sums)| (*facet, listed(*facet, sums, query, world)))
        .collect();
    found
}

/// Which filters an issue fails, as a set of facets; the highest bit stands for those that belong to no facet. Stops at the
/// first one where no facet needs to know more.
fn failed(issue: Issue<'_>, query: &Query) -> u32 {
    const NO_FACET: u32 = 1 << 31;
    let mut failed = 0;
    for filter in &query.filters {
        let (passes, bit) = match filter {
            Filter::Values { facet, wanted } => {
                let has = |value: &usize| wanted.get(*value).copied().unwrap_or_default();
                (facet.values(issue).iter().any(has), facet.bit())
            }
            Filter::Resolved(wanted) => (issue.resolution().is_some() == *wanted, Facet::Resolutions.bit()),
            Filter::Assigned(wanted) => (issue.assignee().is_some() == *wanted, Facet::Assignees.bit()),
            Filter::Nothing => (false, NO_FACET),
        };
        if !passes {
            failed |= bit;
            if query.facets.is_empty() || bit == NO_FACET {
                return failed;
            }
        }
    }
    let always = query.created == (i64::MIN..i64::MAX);
    if always || query.created.contains(&issue.created()) {
        failed
    } else {
        failed | NO_FACET
    }
}

/// The results up to the end of the page, of which the last one is at hand.
struct Best {
    sort: Option<Sort>,
    ascending: bool,
    most: usize,
    heap: BinaryHeap<(u64, u32)>,
    /// Where results come in their order.
    list: Vec<u32>,
}

impl Best {
    fn new(query: &Query) -> Self {
        Self {
            sort: query.sort.filter(|sort| *sort != Sort::CreationDate),
            ascending: query.ascending,
            most: query.page.number * query.page.size,
            heap: BinaryHeap::new(),
            list: Vec::new(),
        }
    }

    fn add(&mut self, issue: Issue<'_>) {
        let Some(sort) = self.sort else {
            if self.list.len() < self.most {
                self.list.push(issue.index);
            }
            return;
        };
        let key = match sort_key(issue, sort) {
            Some(key) if self.ascending => key,
            Some(key) => u64::MAX - 1 - key,
            // What has none comes last, whichever way.
            None => u64::MAX,
        };
        let entry = (key, issue.index);
        if self.heap.len() < self.most {
            self.heap.push(entry);
        } else if let Some(mut last) = self.heap.peek_mut()
            && entry < *last
        {
            *last = entry;
        }
    }

    fn page(self, query: &Query) -> Vec<u32> {
        let all = match self.sort {
            None => self.list,
            Some(_) => self
                .heap
                .into_sorted_vec()
                .into_iter()
                .map(|(_, index)| index)
                .collect(),
        };
        all.into_iter().skip(query.page.offset()).collect()
    }
}

fn sort_key(issue: Issue<'_>, sort: Sort) -> Option<u64> {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX >> 1);
    let time = |seconds: i64| u64::try_from(seconds).unwrap_or_default();
    match sort {
        Sort::CreationDate => Some(time(issue.created())),
        Sort::UpdateDate => Some(time(issue.updated())),
        Sort::CloseDate => issue.closed().map(time),
        // People and projects are numbered in the order of their names.
        Sort::Assignee => issue.assignee().map(wide),
        Sort::Severity => Some(wide(issue.severity())),
        Sort::Status => {
            let name = STATUSES.get(issue.status());
            Some(wide(STATUSES.iter().filter(|other| Some(*other) < name).count()))
        }
        Sort::FileLine => {
            let place = wide(issue.project_index()) << 32 | wide(issue.file()) << 16;
            Some(place | u64::from(issue.line().unwrap_or_default()))
        }
    }
}
