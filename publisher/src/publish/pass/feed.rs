//! The chunks of an archive, on their way to all consumers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use bytes::{Bytes, BytesMut};
use packcast_protocol::{FragmentSize, Sha256Digest};
use sha2::{Digest as _, Sha256};

use crate::progress::Progress;
use crate::publish::page_aligned;
use crate::publish::source::SourceReader;

/// The number of bytes in one read.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// The number of chunks that wait for a consumer.
///
/// With 4, publishing on two processors took a tenth longer, because threads waited for each other.
pub(super) const WAITING_CHUNKS: usize = 16;

/// The number of chunks that can be in use: those that wait, one for each of three consumers and the
/// feeder, and one to spare.
const CHUNKS: usize = WAITING_CHUNKS + 5;

/// Sends each chunk to all queues. A chunk is part of one fragment.
///
/// The feeder also computes the digest of all chunks, while they are in the cache of its processor.
pub(super) struct Feeder<'a> {
    queues: Vec<SyncSender<Bytes>>,
    size: FragmentSize,
    is_refused: &'a AtomicBool,
    has_stopped: bool,
    bytes: u64,
    sha256: Sha256,
    used: VecDeque<Bytes>,
}

/// The chunks that were sent.
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) sha256: Sha256Digest,
    /// The archive was refused meanwhile.
    pub(super) has_stopped: bool,
}

impl<'a> Feeder<'a> {
    /// Returns a feeder that stops once `is_refused`.
    pub(super) fn new(
        queues: Vec<SyncSender<Bytes>>,
        size: FragmentSize,
        is_refused: &'a AtomicBool,
    ) -> Self {
        Self {
            queues,
            size,
            is_refused,
            has_stopped: false,
            bytes: 0,
            sha256: Sha256::new(),
            used: VecDeque::with_capacity(CHUNKS),
        }
    }

    /// Closes the queues.
    pub(super) fn end(self) -> Sent {
        Sent {
            bytes: self.bytes,
            sha256: Sha256Digest::from_bytes(self.sha256.finalize().into()),
            has_stopped: self.has_stopped,
        }
    }

    /// Reads an archive of `bytes` bytes. `progress` advances by the bytes that are read.
    pub(super) fn read(
        &mut self,
        mut reader: SourceReader,
        bytes: u64,
        progress: &Progress,
    ) -> io::Result<()> {
        while self.bytes < bytes {
            self.check()?;
            let mut chunk = self.buffer(bytes - self.bytes);
            reader.read_exact(&mut chunk)?;
            progress.advance(chunk.len() as u64);
            self.send(chunk.freeze());
        }
        Ok(())
    }

    /// Fails if the archive was refused.
    fn check(&mut self) -> io::Result<()> {
        self.has_stopped = self.is_refused.load(Ordering::Relaxed);
        if self.has_stopped {
            return Err(io::Error::other("the archive was refused"));
        }
        Ok(())
    }

    fn send(&mut self, chunk: Bytes) {
        self.bytes += chunk.len() as u64;
        self.sha256.update(&chunk);
        for queue in &self.queues {
            // A consumer that ends early returns the reason.
            let _ = queue.send(chunk.clone());
        }
        self.used.push_back(chunk);
    }

    /// Returns a buffer for the next chunk, of at most `most` bytes: the memory of the oldest chunk, if
    /// no consumer uses it any more.
    ///
    /// New memory for each chunk would cost as much as reading it.
    fn buffer(&mut self, most: u64) -> BytesMut {
        let left = self.size.get() - self.bytes % self.size.get();
        let length = usize::try_from(left.min(most)).unwrap_or(usize::MAX);
        let length = length.min(CHUNK_BYTES);
        let is_full = self.used.len() >= CHUNKS;
        let oldest = is_full.then(|| self.used.pop_front()).flatten();
        let reused = oldest.and_then(|chunk| chunk.try_into_mut().ok());
        let mut buffer = reused.unwrap_or_else(|| page_aligned::buffer(CHUNK_BYTES));
        buffer.resize(length, 0);
        buffer
    }
}

/// Writes an archive to a file, and sends it in chunks.
pub(super) struct PackedChunks<'a, 'b> {
    file: &'a File,
    feeder: &'a mut Feeder<'b>,
    chunk: BytesMut,
    filled: usize,
}

impl<'a, 'b> PackedChunks<'a, 'b> {
    pub(super) fn new(file: &'a File, feeder: &'a mut Feeder<'b>) -> Self {
        Self {
            file,
            feeder,
            chunk: BytesMut::new(),
            filled: 0,
        }
    }

    /// Writes and sends the last chunk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.chunk.truncate(self.filled);
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.feeder.check()?;
        let chunk = std::mem::take(&mut self.chunk);
        self.filled = 0;
        self.file.write_all(&chunk)?;
        self.feeder.send(chunk.freeze());
        Ok(())
    }
}

impl Write for PackedChunks<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.feeder.buffer(u64::MAX);
        }
        let room = &mut self.chunk[self.filled..];
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        if self.filled == self.chunk.len() {
            self.pass_on()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
