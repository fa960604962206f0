//! The memory of whole bodies, of all requests together.
//!
//! Whatever keeps a whole body takes a [`Charge`] for it. [`Charge::attach`] ties the charge to the bytes themselves, so that
//! they count until the last of them is dropped, wherever they are passed on to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::content::document::Node;

/// What each value of a parsed JSON document takes besides its text, in bytes, where lists have grown to twice their length.
const JSON_VALUE: usize = 160;

/// What each name of a parsed JSON document takes besides its text, in bytes.
const JSON_NAME: usize = 96;

/// Counts the bytes of the bodies that are in memory.
#[derive(Debug, Default)]
pub struct Bodies(AtomicUsize);

impl Bodies {
    /// The bytes in memory now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The shared count, and the bound that a request holds it to: `bounds.bodies` of its configuration.
#[derive(Debug, Clone)]
pub struct Budget {
    bodies: Arc<Bodies>,
    most: usize,
}

/// Bytes that count as held until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

/// The bodies in memory take as much as they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bodies held")]
pub struct Full;

impl Full {
    /// Why a fault is skipped for it: one of [`crate::metrics::SKIP_REASONS`].
    pub const REASON: &str = "too many bodies held";
}

impl Budget {
    /// The default of `bounds.bodies`, in bytes.
    pub const DEFAULT: usize = 128 << 20;

    /// At most `most` bytes may be held in all.
    pub fn new(bodies: &Arc<Bodies>, most: usize) -> Budget {
        Budget {
            bodies: Arc::clone(bodies),
            most,
        }
    }

    /// A charge that begins with nothing.
    pub fn charge(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// A charge for this many bytes.
    ///
    /// # Errors
    /// They don't fit.
    pub fn take(&self, bytes: usize) -> Result<Charge, Full> {
        let mut charge = self.charge();
        charge.grow(bytes)?;
        Ok(charge)
    }
}

/// A budget of its own, with the default bound.
impl Default for Budget {
    fn default() -> Budget {
        Budget::new(&Arc::default(), Budget::DEFAULT)
    }
}

impl Charge {
    /// Adds bytes.
    ///
    /// # Errors
    /// They don't fit, and the charge stays as it is.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let most = self.budget.most;
        // Checked and counted in one step, so that no two requests can take the last bytes. The count guards no other memory.
        let counted = self
            .budget
            .bodies
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= most)
            });
        counted.map_err(|_| Full)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Adds what is missing to a total of this many bytes.
    ///
    /// # Errors
    /// See [`Charge::grow`].
    pub fn grow_to(&mut self, total: usize) -> Result<(), Full> {
        self.grow(total.saturating_sub(self.bytes))
    }

    /// Takes up to this many bytes out, as a charge of their own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge {
            budget: self.budget.clone(),
            bytes,
        }
    }

    /// Ties the charge to these bytes: it ends when the last part of them is dropped.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is being written, and counts as it grows.
#[derive(Debug)]
pub struct Writing {
    bytes: Vec<u8>,
    charge: Charge,
    limit: usize,
}

/// Why a body can't be written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    /// It exceeds its own limit.
    #[error("too large")]
    TooLarge,
    /// See [`Full`].
    #[error(transparent)]
    Full(#[from] Full),
}

impl Writing {
    /// A body of at most `limit` bytes.
    pub fn new(budget: &Budget, limit: usize) -> Writing {
        Writing {
            bytes: Vec::new(),
            charge: budget.charge(),
            limit,
        }
    }

    /// Makes room for a body of about this length, which spares copies as it grows.
    pub fn reserve(&mut self, length: usize) {
        self.bytes.reserve_exact(length.saturating_add(length / 8));
    }

    /// Appends what `append` does, which may exceed the limit by its last piece.
    ///
    /// # Errors
    /// The body is too large now, or bodies in all are.
    pub fn append(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unwritten> {
        append(&mut self.bytes);
        if self.bytes.len() > self.limit {
            return Err(Unwritten::TooLarge);
        }
        Ok(self.charge.grow_to(self.bytes.len())?)
    }

    /// The body, which counts on.
    pub fn finish(self) -> Bytes {
        self.charge.attach(self.bytes.into())
    }
}

impl io::Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(|all| all.extend_from_slice(bytes))
            .map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The memory that a JSON document takes once it is parsed, in bytes. A guess that errs on the side of too much: it counts the
/// marks before values and names, even those within strings.
pub fn parsed_size(json: &[u8]) -> usize {
    let of_byte = |byte: &u8| match byte {
        b',' | b'[' | b'{' => JSON_VALUE,
        b':' => JSON_NAME,
        _ => 0,
    };
    json.iter().map(of_byte).sum::<usize>().saturating_add(json.len())
}

/// The memory that a part of a JSON document takes once all of it is looked into, in bytes, erring as [`parsed_size`] does.
pub fn tree_size(node: &Node<'_>) -> usize {
    let within: usize = match node {
        Node::Text(text) => return parsed_size(text.as_bytes()).saturating_add(JSON_VALUE),
        Node::Array(items) => items.iter().map(tree_size).sum(),
        Node::Object(members) => members
            .iter()
            .map(|(name, value)| JSON_NAME + name.len() + tree_size(value))
            .sum(),
    };
    JSON_VALUE + within
}

#[cfg(test)]
mod tests;
