//! Deflates streams in blocks, on several threads.
//!
//! Each block is deflated with the end of the block before as its dictionary, and ends at a whole byte.
//! So the blocks one after the other are one stream, as `pigz` writes it, and the bytes depend neither
//! on the number of threads nor on their order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::PackError;

/// The length of a block before compression.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// The number of bytes before a block to which the block can refer.
const WINDOW_BYTES: usize = 32 << 10;

/// The largest number of threads, so that the blocks in memory have at most about 32 MiB.
const MAX_THREADS: usize = 16;

/// An empty last block: the end of a stream.
const END: [u8; 2] = [3, 0];

/// Threads that deflate blocks. They end with this value.
#[derive(Debug)]
pub(super) struct Deflaters {
    /// `None` if no thread could be started: the caller then deflates its blocks.
    jobs: Option<SyncSender<Job>>,
    threads: usize,
}

#[derive(Debug)]
struct Job {
    block: Bytes,
    before: Bytes,
    done: SyncSender<io::Result<Vec<u8>>>,
}

impl Deflaters {
    /// Starts a thread for each processor, or as many as the system allows.
    pub(super) fn start() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let start = |work| thread::Builder::new().spawn(work).is_ok();
        Self::with(processors.min(MAX_THREADS), start)
    }

    /// Starts threads with `start`, which returns `false` if the system has no thread left.
    fn with(threads: usize, mut start: impl FnMut(Box<dyn FnOnce() + Send>) -> bool) -> Self {
        let (jobs, queue) = sync_channel(threads);
        let queue = Arc::new(Mutex::new(queue));
        let started = (0..threads).take_while(|_| {
            let queue = Arc::clone(&queue);
            start(Box::new(move || work(&queue)))
        });
        let threads = started.count();
        Self {
            jobs: (threads > 0).then_some(jobs),
            threads,
        }
    }

    /// Returns the number of blocks that may wait for their turn to be written.
    pub(super) const fn waiting(&self) -> usize {
        self.threads * 2
    }
}

/// Deflates blocks until no more arrive.
fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compress = Compress::new(Compression::default(), false);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        // Nobody waits for the block after an error.
        let _ = job.done.send(deflated(&mut compress, &job));
    }
}

fn deflated(compress: &mut Compress, job: &Job) -> io::Result<Vec<u8>> {
    compress.reset();
    if !job.before.is_empty() {
        compress.set_dictionary(&job.before).map_err(failed)?;
    }
    let mut out = Vec::with_capacity(job.block.len() + job.block.len() / 8 + 64);
    loop {
        let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        compress
            .compress_vec(&job.block[read..], &mut out, FlushCompress::Sync)
            .map_err(failed)?;
        // Room that is left shows that the end of the block is written, too.
        if compress.total_in() == job.block.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(BLOCK_BYTES);
    }
}

/// Facts of a stream before it was deflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) crc32: u32,
    pub(super) bytes: u64,
}

/// The blocks of one stream. All that is written waits in memory until it is taken.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    deflaters: &'a Deflaters,
    block: Vec<u8>,
    before: Bytes,
    crc: Crc,
    bytes: u64,
    waiting: VecDeque<Receiver<io::Result<Vec<u8>>>>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(deflaters: &'a Deflaters) -> Self {
        Self {
            deflaters,
            block: Vec::new(),
            before: Bytes::new(),
            crc: Crc::new(),
            bytes: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Returns the number of blocks that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Ends the last block, and returns the facts of the stream.
    pub(super) fn end(&mut self) -> io::Result<Content> {
        if !self.block.is_empty() {
            self.submit()?;
        }
        Ok(Content {
            crc32: self.crc.sum(),
            bytes: self.bytes,
        })
    }

    /// Writes the first block that waits, and returns its deflated length.
    pub(super) fn write_next(&mut self, mut out: impl Write) -> io::Result<u64> {
        let Some(block) = self.waiting.pop_front() else {
            return Ok(0);
        };
        let block = block.recv().map_err(|_| panicked())??;
        out.write_all(&block)?;
        Ok(block.len() as u64)
    }

    /// Writes all blocks that wait and the end of the stream, and returns their deflated length.
    pub(super) fn write_rest(&mut self, mut out: impl Write) -> io::Result<u64> {
        let mut written = 0;
        while !self.waiting.is_empty() {
            written += self.write_next(&mut out)?;
        }
        out.write_all(&END)?;
        Ok(written + END.len() as u64)
    }

    fn submit(&mut self) -> io::Result<()> {
        let block = Bytes::from(std::mem::take(&mut self.block));
        let window = block.slice(block.len().saturating_sub(WINDOW_BYTES)..);
        self.crc.update(&block);
        self.bytes += block.len() as u64;
        let (done, receiver) = sync_channel(1);
        let before = std::mem::replace(&mut self.before, window);
        let job = Job {
            block,
            before,
            done,
        };
        if let Some(jobs) = &self.deflaters.jobs {
            jobs.send(job).map_err(|_| panicked())?;
        } else {
            let mut compress = Compress::new(Compression::default(), false);
            // The receiver of this function has room for the block.
            let _ = job.done.send(deflated(&mut compress, &job));
        }
        self.waiting.push_back(receiver);
        Ok(())
    }
}

impl Write for Blocks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK_BYTES);
        }
        let length = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..length]);
        if self.block.len() == BLOCK_BYTES {
            self.submit()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns an error that no writer causes, so that nobody takes it for a full disk.
fn failed(source: impl Into<io::Error>) -> io::Error {
    let source = source.into();
    io::Error::other(PackError::Deflate { source })
}

fn panicked() -> io::Error {
    failed(io::Error::other("a thread of the publisher panicked"))
}

/// Writes a deflated stream to `out`, in bounded memory.
#[derive(Debug)]
pub(super) struct Deflater<'a, W> {
    blocks: Blocks<'a>,
    out: W,
    written: u64,
}

impl<'a, W: Write> Deflater<'a, W> {
    pub(super) fn new(deflaters: &'a Deflaters, out: W) -> Self {
        Self {
            blocks: Blocks::new(deflaters),
            out,
            written: 0,
        }
    }

    /// Ends the stream. Returns the facts of its content, and its deflated length.
    pub(super) fn finish(mut self) -> io::Result<(W, Content, u64)> {
        let content = self.blocks.end()?;
        self.written += self.blocks.write_rest(&mut self.out)?;
        Ok((self.out, content, self.written))
    }
}

impl<W: Write> Write for Deflater<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.blocks.write(bytes)?;
        while self.blocks.waiting() > self.blocks.deflaters.waiting() {
            self.written += self.blocks.write_next(&mut self.out)?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::DeflateDecoder;

    use super::super::Temporary;
    use super::*;

    /// Text that repeats words, then bytes that deflate cannot make smaller.
    fn content(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        });
        let text = b"the quick brown fox ".iter().copied().cycle();
        text.take(bytes / 2).chain(noise).take(bytes).collect()
    }

    fn deflated(threads: usize, pieces: &[&[u8]]) -> (Vec<u8>, Content) {
        let deflaters = Deflaters::with(threads, |work| {
            thread::spawn(work);
            true
        });
        let stream = deflated_by(&deflaters, pieces);
        assert_eq!(deflaters.threads, threads);
        stream
    }

    fn deflated_by(deflaters: &Deflaters, pieces: &[&[u8]]) -> (Vec<u8>, Content) {
        let mut deflater = Deflater::new(deflaters, Vec::new());
        for piece in pieces {
            deflater.write_all(piece).unwrap();
        }
        let (stream, content, bytes) = deflater.finish().unwrap();
        assert_eq!(stream.len() as u64, bytes);
        (stream, content)
    }

    #[test]
    fn a_stream_is_the_same_with_any_number_of_threads_and_inflates_to_its_content() {
        for bytes in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 77] {
            let content = content(bytes);
            let (stream, facts) = deflated(1, &[&content]);
            let pieces: Vec<&[u8]> = content.chunks(100_003).collect();
            assert_eq!(deflated(7, &pieces), (stream.clone(), facts), "{bytes}");
            let mut inflated = Vec::new();
            let mut decoder = DeflateDecoder::new(stream.as_slice());
            decoder.read_to_end(&mut inflated).unwrap();
            assert!(inflated == content, "{bytes}");
            assert_eq!(decoder.total_in(), stream.len() as u64);
            let mut crc = Crc::new();
            crc.update(&content);
            assert_eq!((facts.crc32, facts.bytes), (crc.sum(), bytes as u64));
        }
    }

    #[test]
    fn a_stream_is_the_same_with_fewer_threads_than_asked_for_and_with_none() {
        let content = content(5 * BLOCK_BYTES + 77);
        let expected = deflated(4, &[&content]);
        for left in [0, 1, 3] {
            let mut started = 0;
            let deflaters = Deflaters::with(4, |work| {
                if started == left {
                    return false;
                }
                thread::spawn(work);
                started += 1;
                true
            });
            assert_eq!(deflaters.threads, left);
            assert!(deflated_by(&deflaters, &[&content]) == expected, "{left}");
        }
    }

    #[test]
    fn a_thread_that_ends_early_is_no_error_of_the_disk() {
        // Its queue is dropped, as in a panic.
        let deflaters = Deflaters::with(1, |work| {
            drop(work);
            true
        });
        let mut blocks = Blocks::new(&deflaters);
        let error = blocks.write_all(&content(BLOCK_BYTES)).unwrap_err();
        let temporary = Temporary::create().unwrap();
        let error = temporary.write_error(error);
        let PackError::Deflate { source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(source.to_string(), "a thread of the publisher panicked");
    }

    #[test]
    fn a_block_refers_to_the_block_before() {
        let noise = &content(4 * BLOCK_BYTES)[3 * BLOCK_BYTES..];
        let half = &noise[..BLOCK_BYTES - WINDOW_BYTES / 2];
        let end = &half[half.len() - WINDOW_BYTES / 2..];
        let (once, _) = deflated(2, &[half]);
        // The repeated bytes are the end of one block and the start of the next one.
        let (twice, _) = deflated(2, &[half, end, end]);
        assert!(twice.len() < once.len() + 1024, "{}", twice.len());
    }
}
