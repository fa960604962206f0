//! A bounded memory for keys: beyond its bound the longest unused key is forgotten.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

/// Values by the hash of a key. Takes memory for what it holds, not for its bound.
#[derive(Debug)]
pub struct Remembered<V> {
    values: Mutex<LruCache<u64, V>>,
    bound: NonZeroUsize,
}

impl<V> Remembered<V> {
    /// Remembers at most `bound` keys.
    pub fn new(bound: NonZeroUsize) -> Self {
        // A cache with a capacity would reserve all of it at once.
        Remembered {
            values: Mutex::new(LruCache::unbounded()),
            bound,
        }
    }

    /// Changes the value of a key, or the new value where it has none.
    pub fn change<T>(&self, key: u64, new: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> T) -> T {
        let mut values = self.values.lock();
        let changed = change(values.get_or_insert_mut(key, new));
        while values.len() > self.bound.get() {
            values.pop_lru();
        }
        changed
    }

    /// Looks at the value of a key, and leaves its place in the order of use.
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
