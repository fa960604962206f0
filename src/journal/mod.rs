//! The journal: the last requests of each space, for queries and for `verify`.
//!
//! ```text
//! request over ─ Entry ─ Journal::record ─┬─ Ring of its space   ─┐
//!                                         └─ Ring of all others  ─┴─ Journal::read ─ Filter, attempts, near misses, verify
//! ```
//!
//! Recording copies the head into one piece of memory, and pushes it to a ring under a short lock. Everything else is worked out
//! when somebody asks: the space that a request names while no space is open, attempts of the same logical request, which rules
//! almost matched. Rings are bounded in entries and bytes; what is dropped is counted.

pub mod ask;
pub mod attempts;
pub mod entry;
pub mod filter;
pub mod json;
pub mod kept;
mod mask;
pub mod near;
mod ring;
pub mod spec;
pub mod verify;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::entry::Entry;
pub use self::ring::{Bounds, Numbered};
use self::ring::{Reading, Ring};

/// How many rings may be full: all rings together take at most this many times the bytes of one.
const FULL_RINGS: usize = 8;

/// How many requests to which nothing happened a ring takes in a second, unless twice its size is more.
const PACE: usize = 5_000;

/// What a ring may take in any case, in bytes.
const LEAST_SHARE: usize = 64 << 10;

/// The last requests of each space.
#[derive(Debug)]
pub struct Journal {
    on: AtomicBool,
    /// The bounds of each ring as they are configured.
    requests: AtomicUsize,
    bytes: AtomicUsize,
    /// How many bytes a ring may take now: less than configured if there are many rings.
    share: AtomicUsize,
    /// The number of the last entry.
    numbers: AtomicU64,
    /// Requests in no space, and in spaces that are not open.
    shared: Ring,
    /// The rings of open spaces, by name.
    spaces: ArcSwap<HashMap<Arc<str>, Arc<Ring>>>,
    /// Held while spaces are opened and closed: counts what rings of closed spaces have dropped.
    closed: Mutex<u64>,
    /// How many callers wait for entries.
    waiting: AtomicUsize,
    news: Notify,
}

/// Which requests to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// All of them.
    All,
    /// Those in no space.
    NoSpace,
    /// Those in this space.
    Space(String),
}

impl Of {
    /// The requests of a space by its name; an empty one stands for those in no space.
    pub fn named(space: &str) -> Of {
        if space.is_empty() {
            Of::NoSpace
        } else {
            Of::Space(space.to_owned())
        }
    }
}

/// Entries of the journal, as of one moment.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entries, oldest first.
    pub entries: Vec<Numbered>,
    /// How many entries were dropped to stay within the bounds, since the journal or the space was cleared.
    pub dropped: u64,
    /// Whether entries that were asked for are among those that were dropped.
    pub incomplete: bool,
}

/// A caller that waits for entries. Recording notifies nobody while there is none.
struct Waiting<'a>(&'a AtomicUsize);

impl Default for Journal {
    /// A journal that is off, until it is [configured](Journal::configure).
    fn default() -> Self {
        Journal {
            on: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            share: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            shared: Ring::default(),
            spaces: ArcSwap::default(),
            closed: Mutex::new(0),
            waiting: AtomicUsize::new(0),
            news: Notify::new(),
        }
    }
}

impl Journal {
    /// Sets the bounds of each ring, and drops what is beyond them. With `None` the journal is off, and empty.
    pub fn configure(&self, bounds: Option<Bounds>) {
        let _closed = self.closed.lock();
        // Relaxed: the three are independent, and a request that sees old ones is bounded by these at the next one.
        let mut fewer = false;
        if let Some(bounds) = bounds {
            fewer = self.requests.swap(bounds.requests, Ordering::Relaxed) > bounds.requests;
            self.bytes.store(bounds.bytes, Ordering::Relaxed);
        }
        self.on.store(bounds.is_some(), Ordering::Relaxed);
        if bounds.is_none() {
            self.clear(&Of::All);
        }
        self.share_memory(fewer);
    }

    /// Divides the memory between the rings. `fewer` says that they may have fewer requests than before. Call it with the lock on `closed` whenever their number or the bounds change.
    fn share_memory(&self, fewer: bool) {
        let (bytes, rings) = (self.bytes.load(Ordering::Relaxed), self.rings(&Of::All));
        let fair = bytes.saturating_mul(FULL_RINGS) / rings.len().max(1);
        let share = bytes.min(fair.max(LEAST_SHARE));
        if self.share.swap(share, Ordering::Relaxed) > share || fewer {
            for ring in rings {
                ring.get(self).shrink(self.bounds());
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.share.load(Ordering::Relaxed),
        }
    }

    /// Whether requests are recorded. Ask it before making an entry.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether to record a request that began at `now`, that no rule has hit and that went well. At high rates the ring would keep
    /// each of them for a moment only, so what exceeds `PACE` is counted as dropped
    /// instead. While a space is open, or a caller waits for entries, all are recorded.
    pub fn admits(&self, now: Instant) -> bool {
        if self.waiting.load(Ordering::Relaxed) > 0 || !self.spaces.load().is_empty() {
            return true;
        }
        let most = self.requests.load(Ordering::Relaxed).saturating_mul(2).max(PACE);
        self.shared.admits(now, most, &self.numbers)
    }

    /// Adds a request that is over to the ring of its space.
    pub fn record(&self, entry: Entry) {
        if !self.is_on() {
            return;
        }
        let spaces = self.spaces.load();
        // The space is looked for only if there is one to be in.
        let own = if spaces.is_empty() {
            None
        } else {
            entry.space().and_then(|space| spaces.get(&*space))
        };
        own.map_or(&self.shared, |ring| ring)
            .push(Arc::new(entry), &self.numbers, self.bounds());
        // After the entry can be read: a caller counts itself first, then reads, so it either finds the entry or is notified. The
        // lock of the ring orders the two.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.news.notify_waiters();
        }
    }

    /// Gives a space a ring of its own. One that it has is kept.
    pub fn open(&self, space: &str) {
        let _closed = self.closed.lock();
        let mut spaces = HashMap::clone(&self.spaces.load());
        spaces.entry(space.into()).or_default();
        self.spaces.store(Arc::new(spaces));
        self.share_memory(false);
    }

    /// Removes a space's ring with its entries. Later requests that name the space go to the shared ring.
    pub fn close(&self, space: &str) {
        let mut closed = self.closed.lock();
        let mut spaces = HashMap::clone(&self.spaces.load());
        if let Some(ring) = spaces.remove(space) {
            self.spaces.store(Arc::new(spaces));
            *closed += ring.dropped_ever();
            self.share_memory(false);
        }
    }

    /// The entries with a number above `after`, oldest first.
    pub fn read(&self, of: &Of, after: u64) -> Page {
        let mut page = Page::default();
        let rings = self.rings(of);
        let several = rings.len() > 1;
        // A later entry of a ring that is read last may have a greater number than one that a ring read before gets afterwards.
        // Whoever goes on from there would miss the latter.
        let last = self.numbers.load(Ordering::Relaxed);
        for ring in rings {
            let Reading {
                entries,
                dropped,
                incomplete,
            } = ring.get(self).read(after);
            // The ring that all share has requests of other spaces too.
            let mine = |one: &Numbered| match (&ring, of) {
                (Place::Shared, Of::NoSpace) => one.entry.space().is_none(),
                (Place::Shared, Of::Space(name)) => one.entry.space().as_deref() == Some(name),
                (Place::Own(_), _) | (_, Of::All) => true,
            };
            page.entries.extend(entries.into_iter().filter(mine));
            page.dropped += dropped;
            page.incomplete |= incomplete;
        }
        if several {
            page.entries.retain(|one| one.id <= last);
            page.entries.sort_unstable_by_key(|one| one.id);
        }
        page
    }

    /// The entry with this number.
    pub fn find(&self, id: u64) -> Option<Numbered> {
        let rings = self.rings(&Of::All);
        rings.iter().find_map(|ring| ring.get(self).find(id))
    }

    /// Removes entries. Of the ring that spaces which are not open share, all are removed.
    pub fn clear(&self, of: &Of) {
        for ring in self.rings(of) {
            ring.get(self).clear();
        }
    }

    /// How many entries were dropped to stay within the bounds, since the start.
    pub fn dropped(&self) -> u64 {
        let closed = *self.closed.lock();
        let rings = self.rings(&Of::All);
        closed + rings.iter().map(|ring| ring.get(self).dropped_ever()).sum::<u64>()
    }

    /// Resolves as soon as `look` returns something. It is called at once, and again after each entry.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        // Counted before the first look, see `record`.
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // From here on it does not miss an entry that comes while it looks.
            news.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            news.await;
        }
    }

    fn rings(&self, of: &Of) -> Vec<Place> {
        let spaces = self.spaces.load();
        match of {
            Of::All => {
                let own = spaces.values().map(|ring| Place::Own(Arc::clone(ring)));
                std::iter::once(Place::Shared).chain(own).collect()
            }
            Of::NoSpace => vec![Place::Shared],
            Of::Space(name) => {
                let own = spaces.get(&**name);
                vec![own.map_or(Place::Shared, |ring| Place::Own(Arc::clone(ring)))]
            }
        }
    }
}

/// Where a ring is.
enum Place {
    Shared,
    Own(Arc<Ring>),
}

impl Place {
    fn get<'a>(&'a self, journal: &'a Journal) -> &'a Ring {
        match self {
            Place::Shared => &journal.shared,
            Place::Own(ring) => ring,
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
