//! Sparse files in the extended headers of GNU tar: only the parts with data are in the archive.
//!
//! Source: "Storing Sparse Files" in the manual of GNU tar, formats 0.0, 0.1 and 1.0.

use std::io::{self, Read};

/// The limit of parts in a file. The list of parts is in memory.
const MAX_PARTS: usize = 1 << 20;

/// The size of a block. In format 1.0, the list of parts fills whole blocks.
const BLOCK: usize = 512;

/// The description of a sparse file in the extended header of its entry.
#[derive(Debug, Default)]
pub(super) struct SparseHeader {
    name: Option<Vec<u8>>,
    bytes: Option<u64>,
    /// The offset and the length of each part, in turn; formats 0.0 and 0.1.
    numbers: Vec<u64>,
    /// The list of parts is at the start of the content; format 1.0.
    is_inline: bool,
    is_sparse: bool,
}

impl SparseHeader {
    /// Reads one record of the extended header.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else {
            return Ok(());
        };
        self.is_sparse = true;
        match key {
            b"name" => self.name = Some(value.to_owned()),
            b"realsize" | b"size" => self.bytes = Some(number(value)?),
            b"offset" | b"numbytes" => self.numbers.push(number(value)?),
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').map(number);
                self.numbers = numbers.collect::<Result<_, _>>()?;
            }
            b"major" => self.is_inline = number(value)? == 1,
            _ => {}
        }
        Ok(())
    }

    /// Returns `true` if the entry is a sparse file.
    pub(super) const fn is_sparse(&self) -> bool {
        self.is_sparse
    }

    /// Returns the name of the file; `None` if it is in the usual place.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    /// Returns the length of the file with its holes, in bytes.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        self.bytes
            .ok_or_else(|| invalid("the length of a sparse file is missing"))
    }

    /// Returns a reader of the file with its holes. `content` is the content in the archive.
    pub(super) fn reader<R: Read>(self, mut content: R) -> io::Result<SparseReader<R>> {
        let bytes = self.bytes()?;
        let numbers = if self.is_inline {
            inline_numbers(&mut content)?
        } else {
            self.numbers
        };
        SparseReader::new(content, &numbers, bytes)
    }
}

/// Reads the list of parts at the start of the content: the number of parts, then offset and length
/// of each part, each on a line.
fn inline_numbers(content: &mut impl Read) -> io::Result<Vec<u64>> {
    let (mut numbers, mut text) = (Vec::new(), Vec::new());
    let mut expected = None;
    while expected.is_none_or(|expected| numbers.len() < expected) {
        let mut block = [0; BLOCK];
        content.read_exact(&mut block)?;
        for byte in block {
            if expected == Some(numbers.len()) {
                break;
            }
            if byte != b'\n' {
                text.push(byte);
                continue;
            }
            let value = number(&std::mem::take(&mut text))?;
            if expected.is_none() {
                let parts = usize::try_from(value).unwrap_or(usize::MAX);
                check_count(parts)?;
                expected = Some(parts * 2);
            } else {
                numbers.push(value);
            }
        }
        if text.len() > BLOCK {
            return Err(invalid(
                "the list of parts of a sparse file has no line ends",
            ));
        }
    }
    Ok(numbers)
}

fn check_count(parts: usize) -> io::Result<()> {
    if parts > MAX_PARTS {
        return Err(invalid("a sparse file has too many parts"));
    }
    Ok(())
}

fn number(text: &[u8]) -> io::Result<u64> {
    let text = str::from_utf8(text).ok();
    text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("a number in the description of a sparse file is not valid"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Reads a sparse file with zeros in its holes.
#[derive(Debug)]
pub(super) struct SparseReader<R> {
    content: R,
    /// The start and the end of each part with data, the last part first.
    parts: Vec<(u64, u64)>,
    position: u64,
    bytes: u64,
}

impl<R: Read> SparseReader<R> {
    fn new(content: R, numbers: &[u64], bytes: u64) -> io::Result<Self> {
        let (pairs, []) = numbers.as_chunks::<2>() else {
            return Err(invalid("a part of a sparse file has no length"));
        };
        check_count(pairs.len())?;
        let (mut parts, mut last) = (Vec::new(), 0);
        for [start, length] in pairs {
            let end = start.checked_add(*length).filter(|end| *end <= bytes);
            let Some(end) = end.filter(|_| *start >= last) else {
                return Err(invalid(
                    "the parts of a sparse file overlap, or exceed its length",
                ));
            };
            last = end;
            parts.push((*start, end));
        }
        parts.retain(|(start, end)| start < end);
        parts.reverse();
        Ok(Self {
            content,
            parts,
            position: 0,
            bytes,
        })
    }
}

impl<R: Read> Read for SparseReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (start, end) = self
            .parts
            .last()
            .copied()
            .unwrap_or((self.bytes, self.bytes));
        let is_hole = self.position < start;
        let left = if is_hole { start } else { end } - self.position;
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = &mut buffer[..length];
        let read = if is_hole {
            buffer.fill(0);
            length
        } else {
            self.content.read(buffer)?
        };
        self.position += read as u64;
        if self.position == end && !is_hole {
            self.parts.pop();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[(&str, &str)], content: &[u8]) -> io::Result<Vec<u8>> {
        let mut header = SparseHeader::default();
        for (key, value) in records {
            header.add(format!("GNU.sparse.{key}").as_bytes(), value.as_bytes())?;
        }
        let mut bytes = Vec::new();
        header.reader(content)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn each_format_is_read() {
        let expected = b"\0\0ab\0\0\0cde\0\0";
        let old = [
            ("size", "12"),
            ("numblocks", "2"),
            ("offset", "2"),
            ("numbytes", "2"),
            ("offset", "7"),
            ("numbytes", "3"),
        ];
        assert_eq!(read(&old, b"abcde").unwrap(), expected);
        let middle = [("size", "12"), ("map", "2,2,7,3")];
        assert_eq!(read(&middle, b"abcde").unwrap(), expected);
        let mut content = b"3\n2\n2\n7\n3\n12\n0\n".to_vec();
        content.resize(BLOCK, 0);
        content.extend(b"abcde");
        let new = [("major", "1"), ("minor", "0"), ("realsize", "12")];
        assert_eq!(read(&new, &content).unwrap(), expected);
    }

    #[test]
    fn a_long_list_of_parts_fills_several_blocks() {
        let mut content = b"200\n".to_vec();
        for part in 0..200 {
            content.extend(format!("{}\n1\n", part * 10).bytes());
        }
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content.extend([b'x'; 200]);
        let bytes = read(&[("major", "1"), ("realsize", "2000")], &content).unwrap();
        assert_eq!(bytes.len(), 2000);
        assert!((0..2000).all(|at| (bytes[at] == b'x') == (at % 10 == 0)));
    }

    #[test]
    fn dishonest_descriptions_are_refused() {
        let check = |records: &[(&str, &str)]| assert!(read(records, b"abc").is_err());
        check(&[("map", "0,1")]);
        check(&[("size", "3"), ("map", "0,1,2")]);
        check(&[("size", "3"), ("map", "0,4")]);
        check(&[("size", "3"), ("map", "1,18446744073709551615")]);
        check(&[("size", "9"), ("map", "4,2,3,2")]);
        check(&[("size", "9"), ("map", "0,-1")]);
        check(&[("size", "+9"), ("map", "0,1")]);
        let inline = |content: &[u8]| {
            let mut content = content.to_vec();
            content.resize(4 * BLOCK, 0);
            read(&[("major", "1"), ("realsize", "9")], &content).unwrap_err()
        };
        inline(b"99999999999\n");
        inline(b"2\n0\n1\n");
        inline(b"no number\n");
        // The content ends before the last part does.
        assert_eq!(
            read(&[("size", "9"), ("map", "0,9")], b"abc").unwrap(),
            b"abc"
        );
    }
}
