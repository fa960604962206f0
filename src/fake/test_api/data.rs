//! Generated people, todos and texts. Everything is a function of the seed.

use uuid::{Timestamp, Uuid};

use super::todos::Todo;
use super::users::User;
use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::made_up::phrases::{
    address, capitalise, city, company, country, domain, paragraph, phone, postal, sentence, some_things, thing,
};
use crate::fake::made_up::words;

/// Rows of the database as the original ships it.
const TODOS: usize = 21;
const USERS: usize = 639;
const ACTIVE_USERS: usize = 2;

const USERS_CREATED: &str = "2019-04-20T14:51:01.257966";
const TODOS_CREATED: &str = "2019-04-20T15:22:52.170947";

/// 2019-04-20 14:51:01 UTC in ticks of 100 ns since 1582-10-15 (RFC 9562, section 5.1).
const USERS_CREATED_TICKS: u64 = (1_555_771_861 + 12_219_292_800) * 10_000_000;
/// 15:22:52 of the same day.
const TODOS_CREATED_TICKS: u64 = USERS_CREATED_TICKS + 1_911 * 10_000_000;
/// Fresh people have identifiers of the day after.
const SILLY_CREATED_TICKS: u64 = USERS_CREATED_TICKS + 86_400 * 10_000_000;

/// The node part of identifiers: random, with the multicast bit that says so (RFC 9562, section 6.10).
pub(super) fn node(seed: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = Dice::new(seed, Stream::Node, 0).throw().to_le_bytes();
    [a | 1, b, c, d, e, f]
}

/// The `index`th identifier that was made from `ticks` on, about a millisecond apart.
fn identifier(seed: u64, ticks: u64, index: u64) -> String {
    let counter = u16::from_le_bytes([node(seed)[1], node(seed)[2]]) & 0x3fff;
    let ticks = ticks + index * 7_459;
    Uuid::new_v1(Timestamp::from_gregorian_time(ticks, counter), &node(seed)).to_string()
}

/// The users that are there at the start.
pub(super) fn users(seed: u64) -> Vec<User> {
    let mut dice = Dice::new(seed, Stream::Active, 0);
    let mut active = Vec::new();
    while active.len() < ACTIVE_USERS {
        let index = dice.below(USERS);
        if !active.contains(&index) {
            active.push(index);
        }
    }
    (0..USERS)
        .map(|index| user(seed, index as u64, active.contains(&index)))
        .collect()
}

fn user(seed: u64, index: u64, is_active: bool) -> User {
    let dice = &mut Dice::new(seed, Stream::Users, index);
    User {
        user_id: identifier(seed, USERS_CREATED_TICKS, index),
        first_name: dice.pick(words::FIRST_NAMES).to_owned(),
        last_name: dice.pick(words::LAST_NAMES).to_uppercase(),
        title: Some(dice.pick(words::TITLES).to_owned()),
        company: Some(company(dice)),
        address: Some(address(dice)),
        city: Some(city(dice)),
        country: Some(country(dice)),
        postal: Some(postal(dice)),
        email: Some(format!("{}@{}", thing(dice), domain(dice))),
        website: Some(domain(dice)),
        password: format!("{}{}", thing(dice), thing(dice)),
        description: Some(paragraph(dice, 2)),
        date_create: USERS_CREATED.to_owned(),
        is_active,
        is_superuser: false,
    }
}

/// The todos that are there at the start: all complete.
pub(super) fn todos(seed: u64) -> Vec<Todo> {
    (0..TODOS as u64).map(|index| todo(seed, index)).collect()
}

fn todo(seed: u64, index: u64) -> Todo {
    let dice = &mut Dice::new(seed, Stream::Todos, index);
    Todo {
        todo_id: identifier(seed, TODOS_CREATED_TICKS, index),
        title: some_things(dice),
        description: Some(sentence(dice)),
        is_complete: true,
        date_due: Some(format!("2019-06-{:02}", dice.from(1, 30))),
        date_create: TODOS_CREATED.to_owned(),
        date_update: TODOS_CREATED.to_owned(),
        date_complete: Some(TODOS_CREATED.to_owned()),
        // What the original's documentation page had filled in for all of them.
        user_id: Some("string".to_owned()),
    }
}

/// A person who is made up for one reply and stored nowhere.
#[derive(Debug, serde::Serialize)]
pub(super) struct SillyUser {
    /// The original's own spelling.
    #[serde(rename = "useId")]
    id: String,
    username: String,
    title: &'static str,
    company: String,
    address: String,
    city: String,
    country: String,
    postal: String,
    email: String,
    phone: String,
    website: String,
    description: String,
    #[serde(rename = "dateCreate")]
    date_create: String,
}

/// The `index`th made-up person.
pub(super) fn silly_user(seed: u64, index: u64) -> SillyUser {
    let dice = &mut Dice::new(seed, Stream::Silly, index);
    let (first, last) = (dice.pick(words::FIRST_NAMES), dice.pick(words::LAST_NAMES));
    SillyUser {
        id: identifier(seed, SILLY_CREATED_TICKS, index),
        username: format!("{first} {last}"),
        title: dice.pick(words::TITLES),
        company: company(dice),
        address: capitalise(&address(dice)),
        city: capitalise(&city(dice)),
        country: capitalise(&country(dice)),
        postal: postal(dice),
        email: format!("{}-{}@{}", first.to_lowercase(), thing(dice), domain(dice)),
        phone: phone(dice),
        website: format!("http://www.{}", domain(dice)),
        description: paragraph(dice, 3),
        date_create: format!("{}/{}/{}", dice.from(1950, 2018), dice.from(1, 12), dice.from(1, 28)),
    }
}

/// The `index`th joke that is told.
pub(super) fn joke(seed: u64, index: u64) -> &'static str {
    Dice::new(seed, Stream::Jokes, index).pick(words::JOKES)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_data_and_another_seed_other_data() {
        let print = |seed| format!("{:?} {:?} {:?}", users(seed), todos(seed), silly_user(seed, 3));
        assert_eq!(print(7), print(7));
        assert_ne!(print(7), print(8));
        assert_ne!(format!("{:?}", silly_user(7, 3)), format!("{:?}", silly_user(7, 4)));
    }

    #[test]
    fn there_are_as_many_rows_as_the_original_ships() {
        for seed in [0, 1, u64::MAX] {
            let (users, todos) = (users(seed), todos(seed));
            assert_eq!(
                (users.len(), users.iter().filter(|user| !user.is_active).count()),
                (639, 637)
            );
            assert_eq!(
                (todos.len(), todos.iter().filter(|todo| todo.is_complete).count()),
                (21, 21)
            );
            let ids: HashSet<_> = users.iter().map(|user| user.user_id.as_str()).collect();
            assert_eq!(ids.len(), 639);
        }
    }

    #[test]
    fn identifiers_are_of_version_1_and_of_their_day() {
        let id = Uuid::parse_str(&users(5)[0].user_id).unwrap();
        assert_eq!(id.get_version_num(), 1);
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_555_771_861);
    }
}
