//! What callers leave with the fake: files and batches, in memory.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use super::batches::Batch;
use crate::fake::query::Pairs;

/// How many files and batches are kept, and how many bytes all of each may have.
const FILES_LIMIT: usize = 1000;
const BATCHES_LIMIT: usize = 1000;
const BYTES_LIMIT: usize = 128 << 20;

/// A file that was uploaded, or that a batch made.
#[derive(Debug)]
pub(super) struct StoredFile {
    pub(super) id: String,
    pub(super) name: String,
    /// What it is for: `batch`, `assistants`…
    pub(super) purpose: String,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    /// Seconds since 1970.
    pub(super) created: i64,
}

/// All that is kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    files: Mutex<Vec<Arc<StoredFile>>>,
    batches: Mutex<Vec<Arc<Batch>>>,
}

/// There is no room for more.
#[derive(Debug)]
pub(super) struct ShelfFull;

impl Shelf {
    pub(super) fn files(&self) -> Vec<Arc<StoredFile>> {
        self.files.lock().clone()
    }

    pub(super) fn file(&self, id: &str) -> Option<Arc<StoredFile>> {
        let files = self.files.lock();
        files.iter().find(|file| file.id == id).map(Arc::clone)
    }

    /// # Errors
    /// There are too many files, or too many bytes in them.
    pub(super) fn add_file(&self, file: StoredFile) -> Result<Arc<StoredFile>, ShelfFull> {
        let mut files = self.files.lock();
        let used: usize = files.iter().map(|file| file.bytes.len()).sum();
        if files.len() >= FILES_LIMIT || used.saturating_add(file.bytes.len()) > BYTES_LIMIT {
            return Err(ShelfFull);
        }
        let file = Arc::new(file);
        files.push(Arc::clone(&file));
        Ok(file)
    }

    pub(super) fn remove_file(&self, id: &str) -> Option<Arc<StoredFile>> {
        let mut files = self.files.lock();
        let at = files.iter().position(|file| file.id == id)?;
        Some(files.remove(at))
    }

    pub(super) fn batches(&self) -> Vec<Arc<Batch>> {
        self.batches.lock().clone()
    }

    pub(super) fn batch(&self, id: &str) -> Option<Arc<Batch>> {
        let batches = self.batches.lock();
        batches.iter().find(|batch| batch.id == id).map(Arc::clone)
    }

    /// # Errors
    /// There are too many, or too many bytes in them.
    pub(super) fn add_batch(&self, batch: Batch) -> Result<Arc<Batch>, ShelfFull> {
        let mut batches = self.batches.lock();
        let used: usize = batches.iter().map(|batch| batch.size()).sum();
        if batches.len() >= BATCHES_LIMIT || used.saturating_add(batch.size()) > BYTES_LIMIT {
            return Err(ShelfFull);
        }
        let batch = Arc::new(batch);
        batches.push(Arc::clone(&batch));
        Ok(batch)
    }

    pub(super) fn remove_batch(&self, id: &str) {
        self.batches.lock().retain(|batch| batch.id != id);
    }
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) data: Vec<Value>,
    pub(super) has_more: bool,
}

/// The part of a list, the newest first, that a query asks for: `limit` items after the one named by `after` (OpenAI) or
/// `after_id` (Anthropic), or before the one named by `before_id`; `order=asc` begins with the oldest.
pub(super) fn excerpt(mut all: Vec<Value>, query: &Pairs) -> Excerpt {
    let asked = |name: &str| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if asked("order") != Some("asc") {
        all.reverse();
    }
    let place = |id: &str| {
        all.iter()
            .position(|item| item.get("id").and_then(Value::as_str) == Some(id))
    };
    let after = asked("after").or_else(|| asked("after_id"));
    let begin = after.map_or(0, |id| place(id).map_or(all.len(), |at| at + 1));
    let end = asked("before_id").and_then(place).unwrap_or(all.len());
    let limit = asked("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20_usize);
    let rest: Vec<_> = all.into_iter().take(end).skip(begin).collect();
    let has_more = rest.len() > limit;
    let data = rest.into_iter().take(limit).collect();
    Excerpt { data, has_more }
}

impl Excerpt {
    pub(super) fn first_id(&self) -> Value {
        self.data
            .first()
            .and_then(|item| item.get("id"))
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn last_id(&self) -> Value {
        self.data
            .last()
            .and_then(|item| item.get("id"))
            .cloned()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_read_page_by_page() {
        let page = |query: &str| {
            let all = (1..=5).map(|number| json!({"id": number.to_string()})).collect();
            let page = excerpt(all, &crate::fake::query::pairs(query.as_bytes()));
            let ids: Vec<_> = page
                .data
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned())
                .collect();
            (ids.concat(), page.has_more)
        };
        assert_eq!(page(""), ("54321".to_owned(), false));
        assert_eq!(page("limit=2"), ("54".to_owned(), true));
        assert_eq!(page("limit=2&after=4"), ("32".to_owned(), true));
        assert_eq!(page("limit=2&after_id=2"), ("1".to_owned(), false));
        assert_eq!(page("before_id=4"), ("5".to_owned(), false));
        assert_eq!(page("order=asc&limit=3"), ("123".to_owned(), true));
        assert_eq!(page("after=nobody"), (String::new(), false));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let file = |id: usize, size: usize| StoredFile {
            id: id.to_string(),
            name: String::new(),
            purpose: String::new(),
            media_type: String::new(),
            bytes: vec![0; size].into(),
            created: 0,
        };
        let shelf = Shelf::default();
        assert!(shelf.add_file(file(0, BYTES_LIMIT)).is_ok() && shelf.add_file(file(1, 1)).is_err());
        shelf.remove_file("0");
        assert!((0..FILES_LIMIT).all(|id| shelf.add_file(file(id, 0)).is_ok()));
        assert!(shelf.add_file(file(FILES_LIMIT, 0)).is_err());
    }
}
