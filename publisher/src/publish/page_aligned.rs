//! Memory for reads of large chunks.

use bytes::{Buf as _, BytesMut};

/// The size of a page of memory on most systems, in bytes.
const PAGE_BYTES: usize = 4 << 10;

/// Returns a buffer of `length` zeros that begins at a page of memory.
///
/// The allocator of glibc places a large block 16 bytes after the start of a page. To copy a file from the
/// cache of the system to such an address takes an AMD EPYC processor three times as long.
pub(super) fn buffer(length: usize) -> BytesMut {
    let mut buffer = BytesMut::zeroed(length + PAGE_BYTES);
    let before = buffer.as_ptr().addr().wrapping_neg() % PAGE_BYTES;
    buffer.advance(before);
    buffer.truncate(length);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_stays_at_its_page_when_it_is_used_again() {
        for length in [1, 4096, 256 << 10, 1 << 20] {
            let buffer = buffer(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().addr() % PAGE_BYTES, 0);
            let address = buffer.as_ptr();
            let mut again = buffer.freeze().try_into_mut().unwrap();
            again.truncate(0);
            again.resize(length, 0);
            assert_eq!(again.as_ptr(), address);
        }
    }
}
