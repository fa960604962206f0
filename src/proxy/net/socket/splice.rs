//! Moves bytes from one socket to another within the kernel (splice(2)), by way of a pipe.
//!
//! A pipe belongs to a direction only while bytes are under way; idle ones wait in a pool, since each has two descriptors and
//! the kernel's memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use super::{Kind, Socket};

/// The size of a pipe in bytes, if the system allows it; else its default, mostly 64 KiB.
const PIPE_BYTES: usize = 256 << 10;

/// The most pipes in the pool.
const POOLED: usize = 64;

/// Held for a push or a pop, never across an await.
static POOL: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());

/// A pipe, and how much of it is filled.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(crate) fn take() -> io::Result<Pipe> {
        if let Some(pipe) = POOL.lock().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user may have only so much of all pipes; a smaller one moves as much in more steps.
        let _smaller = fcntl_setpipe_size(&write, PIPE_BYTES);
        let filled = 0;
        Ok(Pipe { read, write, filled })
    }

    /// Gives the pipe back to the pool. One that is not empty is closed.
    pub(crate) fn give_back(self) {
        let mut pool = POOL.lock();
        if self.filled == 0 && pool.len() < POOLED {
            pool.push(self);
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

impl Socket {
    /// Fills an empty pipe. Returns the number of bytes; 0 means that the peer has closed its sending side.
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        loop {
            ready!(either!(self, stream => stream.poll_read_ready(cx)))?;
            // The pipe is empty, so it is the socket that has nothing if the call would block.
            let moved = either!(self, stream => stream.try_io(Interest::READABLE, || {
                Ok(splice(stream, None, &pipe.write, None, PIPE_BYTES, flags)?)
            }));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(count @ 1..) => pipe.filled = count,
                Ok(0) | Err(_) => self.ended.store(true, Ordering::Relaxed),
            }
            return Poll::Ready(moved);
        }
    }

    /// Empties the pipe into the socket as far as there is room. Returns the number of bytes.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(cx)))?;
            let moved = either!(self, stream => stream.try_io(Interest::WRITABLE, || {
                Ok(splice(&pipe.read, None, stream, None, pipe.filled, flags)?)
            }));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(count) => pipe.filled = pipe.filled.saturating_sub(count),
                Err(_) => {}
            }
            return Poll::Ready(moved);
        }
    }
}
