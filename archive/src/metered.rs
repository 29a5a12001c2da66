//! A limit on the parts of an archive that are not content.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// The number of bytes that a [`Metered`] may still read; unlimited at first.
#[derive(Clone, Default)]
pub(super) struct Allowance(Rc<Cell<Option<u64>>>);

impl Allowance {
    pub(super) fn limit(&self, bytes: u64) {
        self.0.set(Some(bytes));
    }

    pub(super) fn lift(&self) {
        self.0.set(None);
    }
}

pub(super) struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R) -> (Self, Allowance) {
        let allowance = Allowance::default();
        let metered = Self {
            inner,
            allowance: allowance.clone(),
        };
        (metered, allowance)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(left) = self.allowance.0.get() {
            let after = left.checked_sub(read as u64);
            // Once exceeded, the limit stays exceeded.
            self.allowance.limit(after.unwrap_or(0));
            after.ok_or_else(|| io::Error::other("too many headers, or too much padding"))?;
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
