//! Stands in for `splice.rs` where the kernel can't move bytes from one socket to another: there never is a pipe, and bytes are copied.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use super::Socket;

/// A pipe, of which there is none.
#[derive(Debug)]
pub(crate) struct NoPipe(Infallible);

impl NoPipe {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn take() -> io::Result<NoPipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn give_back(self) {
        match self.0 {}
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self.0 {}
    }
}

impl Socket {
    pub(crate) fn poll_fill(&self, _: &mut Context<'_>, pipe: &mut NoPipe) -> Poll<io::Result<usize>> {
        match pipe.0 {}
    }

    pub(crate) fn poll_drain(&self, _: &mut Context<'_>, pipe: &mut NoPipe) -> Poll<io::Result<usize>> {
        match pipe.0 {}
    }
}
