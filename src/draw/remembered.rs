//! A bounded map of values by key, which evicts the least recently used key.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

/// Values by the hash of a key. Memory grows with the entries, not with the bound.
#[derive(Debug)]
pub struct Remembered<V> {
    /// Locked for one look-up and a short closure, never across an await.
    values: Mutex<LruCache<u64, V>>,
    bound: NonZeroUsize,
}

impl<V> Remembered<V> {
    /// Creates a map of at most `bound` keys.
    pub fn new(bound: NonZeroUsize) -> Self {
        // A cache with a capacity would allocate all of it at once.
        Remembered {
            values: Mutex::new(LruCache::unbounded()),
            bound,
        }
    }

    /// Changes the value of a key, which is created by `new` if there is none.
    pub fn change<T>(&self, key: u64, new: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> T) -> T {
        let mut values = self.values.lock();
        let changed = change(values.get_or_insert_mut(key, new));
        while values.len() > self.bound.get() {
            values.pop_lru();
        }
        changed
    }

    /// Reads the value of a key, without marking it as used.
    pub fn peek<T>(&self, key: u64, look: impl FnOnce(Option<&V>) -> T) -> T {
        look(self.values.lock().peek(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_longest_unused_key() {
        let remembered = Remembered::new(NonZeroUsize::new(2).unwrap());
        let count = |key| {
            remembered.change(
                key,
                || 0,
                |n| {
                    *n += 1;
                    *n
                },
            )
        };
        assert_eq!([count(1), count(2), count(1), count(3)], [1, 1, 2, 1]);
        assert_eq!(remembered.peek(2, |n| n.copied()), None);
        assert_eq!(remembered.peek(1, |n| n.copied()), Some(2));
    }
}
