//! All that there is: projects, files, people and issues. Everything is a function of the seed; projects, files and people
//! are kept, issues are made when they are asked for.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;
use time::macros::datetime;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::figures::Figures;
use super::issue::Issue;
use super::rules::LANGUAGES;
use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::made_up::phrases::capitalise;
use crate::fake::made_up::words;

/// The time of the last analysis. It is also the present of `createdInLast`, since data from a seed do not grow old.
pub(super) const LAST_ANALYSIS: OffsetDateTime = datetime!(2019-05-31 18:00:00 +02:00);
/// The time of the first one.
pub(super) const FIRST_ANALYSIS: OffsetDateTime = datetime!(2013-05-13 17:55:39 +02:00);

/// Files of one language in one project.
pub(super) const FILES_EACH: usize = 4;
/// Files of one project.
pub(super) const FILES: usize = FILES_EACH * LANGUAGES.len();
/// Authors of code; half of them have issues assigned.
const AUTHORS: usize = 24;

/// One instance of the fake.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    /// How many issues there are.
    pub(super) issues: u32,
    /// Whether the API is that of SonarQube 2025, not of 7.7.
    pub(super) current: bool,
    /// By key.
    pub(super) projects: Vec<Project>,
    pub(super) authors: Vec<Person>,
    /// What there is in each file, counted when it is first asked for.
    pub(super) figures: OnceLock<Vec<Figures>>,
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) uuid: String,
    /// Paths, in order, [`FILES_EACH`] of each language.
    pub(super) files: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Person {
    pub(super) login: String,
    pub(super) name: String,
    pub(super) email: String,
}

impl World {
    pub(super) fn new(seed: u64, projects: u32, issues: u32, current: bool) -> Self {
        let mut projects: Vec<_> = (0..u64::from(projects)).map(|index| project(seed, index)).collect();
        projects.sort_by(|a, b| a.key.cmp(&b.key));
        let mut authors: Vec<_> = (0..AUTHORS as u64).map(|index| person(seed, index)).collect();
        authors.sort_by(|a, b| a.login.cmp(&b.login));
        Self {
            seed,
            issues,
            current,
            projects,
            authors,
            figures: OnceLock::new(),
        }
    }

    /// The name of each project's one branch.
    pub(super) fn branch(&self) -> &'static str {
        if self.current { "main" } else { "master" }
    }

    /// The project with that key.
    pub(super) fn project(&self, key: &str) -> Option<(usize, &Project)> {
        self.projects.iter().enumerate().find(|(_, project)| project.key == key)
    }

    /// How many people may have issues assigned: the first ones of the authors.
    pub(super) fn assignees(&self) -> usize {
        self.authors.len() / 2
    }

    pub(super) fn issue(&self, index: u32) -> Issue<'_> {
        Issue { world: self, index }
    }

    /// The issue with that key, if there is one.
    pub(super) fn issue_of(&self, key: &str) -> Option<u32> {
        let bytes = URL_SAFE.decode(key).ok()?;
        let hidden: [u8; 4] = bytes.get(6..10)?.try_into().ok()?;
        let index = u32::from_be_bytes(hidden) ^ self.mask();
        (index < self.issues && self.issue(index).key() == key).then_some(index)
    }

    pub(super) fn mask(&self) -> u32 {
        let [a, b, c, d, ..] = xxh3_64_with_seed(b"keys", self.seed).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

fn project(seed: u64, index: u64) -> Project {
    let mut dice = Dice::new(seed, Stream::Projects, index);
    let (colour, thing) = (dice.pick(words::COLOURS), dice.pick(words::THINGS).0.replace(' ', "-"));
    // The number keeps keys apart.
    let name = format!("{colour}-{thing}-{}", index + 1);
    let mut files = Vec::with_capacity(FILES);
    for language in LANGUAGES {
        let mut paths: Vec<_> = (0..FILES_EACH)
            .map(|number| {
                let folder = dice.pick(words::COLOURS);
                let file = capitalise(&dice.pick(words::THINGS).0.replace([' ', '-'], ""));
                format!("{}/{folder}/{file}{number}.{}", language.folder, language.ending)
            })
            .collect();
        paths.sort();
        files.extend(paths);
    }
    Project {
        name: capitalise(&name.replace('-', " ")),
        key: name,
        uuid: identifier(&mut dice),
        files,
    }
}

fn person(seed: u64, index: u64) -> Person {
    let mut dice = Dice::new(seed, Stream::Developers, index);
    let (first, last) = (dice.pick(words::FIRST_NAMES), dice.pick(words::LAST_NAMES));
    let last_name = capitalise(&last.to_lowercase());
    // The number keeps logins apart.
    let initial = first.chars().next().unwrap_or('x').to_lowercase();
    let login = format!("{initial}{}{}", last.to_lowercase(), index + 1);
    Person {
        email: format!("{login}@example.org"),
        name: format!("{first} {last_name}"),
        login,
    }
}

/// Twenty characters, as SonarQube 7 makes them.
fn identifier(dice: &mut Dice) -> String {
    let (first, second) = (dice.throw().to_be_bytes(), dice.throw().to_be_bytes());
    key_of(first.into_iter().chain(second))
}

/// A key of the first 15 of some bytes. It begins with `AW`, as those of SonarQube 7 do.
pub(super) fn key_of(bytes: impl Iterator<Item = u8>) -> String {
    let begins = |(place, byte): (usize, u8)| match place {
        0 => 0x01,
        1 => 0x60 | byte & 0x0F,
        _ => byte,
    };
    let bytes: Vec<_> = bytes.take(15).enumerate().map(begins).collect();
    URL_SAFE.encode(bytes)
}

/// The uuid of a file.
pub(super) fn file_uuid(seed: u64, project: usize, file: usize) -> String {
    identifier(&mut Dice::new(seed, Stream::Files, (project * FILES + file) as u64))
}
