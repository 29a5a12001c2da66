//! Coding of request and reply bodies (protocol reference §1.3).

use std::io::{self, Read, Write as _};

use flate2::Compression;
// For a body in memory, those of `read` would allocate a second buffer of 32 KiB for each request.
use flate2::bufread::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

/// Largest body that is opened, in bytes.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Largest content of a body, in bytes; inventories reach a few MiB.
pub const MAX_CONTENT_BYTES: usize = 32 << 20;

/// The coding of a body; the reply to a request has the same coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Zlib,
    Gzip,
    Plain,
}

/// Errors from opening a body.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the body has {bytes} bytes, at most {MAX_BODY_BYTES} are allowed")]
    LargeBody { bytes: usize },
    #[error("the body inflates to more than {MAX_CONTENT_BYTES} bytes")]
    LargeContent,
    #[error("the body is neither zlib, gzip nor XML")]
    UnknownCoding,
    #[error("the body is not a complete {coding:?} stream")]
    Corrupt { coding: Coding, source: io::Error },
}

impl EnvelopeError {
    /// Returns whether the body is too large, rather than malformed.
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::LargeBody { .. } | Self::LargeContent)
    }
}

/// Detects the coding of a body and returns its content.
///
/// A zlib stream may end early, because Windows agents never finish theirs: the content is the
/// part up to there. Memory use is bounded by [`MAX_CONTENT_BYTES`] for any body.
pub fn open(body: &[u8]) -> Result<(Coding, Vec<u8>), EnvelopeError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(EnvelopeError::LargeBody { bytes: body.len() });
    }
    let coding = sniff(body).ok_or(EnvelopeError::UnknownCoding)?;
    let content = match coding {
        Coding::Zlib => inflate(coding, ZlibDecoder::new(body))?,
        Coding::Gzip => inflate(coding, GzDecoder::new(body))?,
        Coding::Plain => body.to_vec(),
    };
    Ok((coding, content))
}

const fn sniff(body: &[u8]) -> Option<Coding> {
    match body {
        [0x78, ..] => Some(Coding::Zlib),
        [0x1F, 0x8B, ..] => Some(Coding::Gzip),
        [b'<', ..] | [0xEF, 0xBB, 0xBF, ..] => Some(Coding::Plain),
        _ => None,
    }
}

fn inflate(coding: Coding, decoder: impl Read) -> Result<Vec<u8>, EnvelopeError> {
    let mut content = Vec::new();
    let result = decoder
        // One byte above the limit is enough to notice a larger body.
        .take(MAX_CONTENT_BYTES as u64 + 1)
        .read_to_end(&mut content);
    if content.len() > MAX_CONTENT_BYTES {
        return Err(EnvelopeError::LargeContent);
    }
    match result {
        Err(error) if coding == Coding::Zlib && error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(content)
        }
        Err(source) => Err(EnvelopeError::Corrupt { coding, source }),
        Ok(_) => Ok(content),
    }
}

/// Encodes a reply as a complete stream, because Unix agents accept no other.
pub fn seal(coding: Coding, content: &[u8]) -> Vec<u8> {
    let encoded = match coding {
        Coding::Zlib => zlib(content),
        Coding::Gzip => gzip(content),
        Coding::Plain => Ok(content.to_vec()),
    };
    encoded.unwrap_or_else(|error| unreachable!("writing to memory cannot fail: {error}"))
}

fn zlib(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use flate2::FlushCompress;
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[(
        "§0.1: Windows agents never end their streams",
        unfinished_streams_of_windows_agents_are_read_whole,
    )];

    /// Protocol reference §11.3.
    const UNTERMINATED: &[u8] = b"789cb2b1afc8cd51284b2d2acecccfb35532d433505248cd4bce4fc9cc4bb7550a0d71d3b55052b0b7e3b209720d0c750d0eb1e35200021b17d7304f67574f17bb0067435d230323335d03435d03235d03635d03135d03531b7db80a8806677fbf1057bf10057d281f685850a45d4090bf8fbfbb8d3e84c765a30fb705000000ffff";

    #[test]
    fn unfinished_streams_of_windows_agents_are_read_whole() {
        let body = data_encoding::HEXLOWER.decode(UNTERMINATED).unwrap();
        let (coding, content) = open(&body).unwrap();
        assert_eq!((coding, content.len()), (Coding::Zlib, 152));
        let content = String::from_utf8(content).unwrap();
        assert!(
            content.contains("PC1-2026-01-02-03-04-05")
                && content.trim_end().ends_with("</REQUEST>")
        );
    }

    #[test]
    fn zlib_may_be_cut_anywhere_and_gzip_may_not() {
        let content = b"<REQUEST/>".repeat(1000);
        let zlib = seal(Coding::Zlib, &content);
        for end in 2..zlib.len() {
            let (_, part) = open(&zlib[..end]).unwrap();
            assert!(content.starts_with(&part), "cut at {end}");
        }
        let gzip = seal(Coding::Gzip, &content);
        for end in 2..gzip.len() {
            let error = open(&gzip[..end]).unwrap_err();
            assert!(
                matches!(error, EnvelopeError::Corrupt { .. }),
                "cut at {end}"
            );
            assert!(!error.is_too_large());
        }
    }

    #[test]
    fn corrupt_bodies_are_malformed() {
        let content: Vec<u8> = (0..4096_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let mut body = seal(Coding::Zlib, &content);
        let end = body.len();
        body[end - 1] ^= 1;
        assert!(
            matches!(open(&body), Err(EnvelopeError::Corrupt { .. })),
            "checksum"
        );
        let mut middle = Vec::with_capacity(256);
        let mut deflate = flate2::Compress::new(Compression::fast(), true);
        deflate
            .compress_vec(b"<REQUEST>", &mut middle, FlushCompress::Sync)
            .unwrap();
        middle.extend([0b0000_0110, 0xFF, 0xFF]);
        assert!(
            matches!(open(&middle), Err(EnvelopeError::Corrupt { .. })),
            "block of a reserved type"
        );
        for garbage in [&b""[..], b"hello", b"\x1f", b"\n<x/>", b"\x80\x9c"] {
            assert!(
                matches!(open(garbage), Err(EnvelopeError::UnknownCoding)),
                "{garbage:?}"
            );
        }
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![0; MAX_CONTENT_BYTES + 1];
        for coding in [Coding::Zlib, Coding::Gzip] {
            let bomb = seal(coding, &zeros);
            assert!(bomb.len() < 64 << 10);
            assert!(open(&bomb).unwrap_err().is_too_large());
            let (_, whole) = open(&seal(coding, &zeros[1..])).unwrap();
            assert_eq!(whole.len(), MAX_CONTENT_BYTES);
        }
        assert!(
            open(&vec![b'<'; MAX_BODY_BYTES + 1])
                .unwrap_err()
                .is_too_large()
        );
        assert!(open(&vec![b'<'; MAX_BODY_BYTES]).is_ok());
    }

    #[test]
    fn error_messages() {
        let large = vec![b'<'; MAX_BODY_BYTES + 1];
        let inflating = seal(Coding::Zlib, &vec![0; MAX_CONTENT_BYTES + 1]);
        let cut = seal(Coding::Gzip, b"<REQUEST/>");
        let bodies = [&large[..], &inflating, b"hello", &cut[..10]];
        insta::assert_snapshot!(messages(bodies.map(|body| open(body).unwrap_err())), @"
        the body has 4194305 bytes, at most 4194304 are allowed
        the body inflates to more than 33554432 bytes
        the body is neither zlib, gzip nor XML
        the body is not a complete Gzip stream: incomplete deflate stream
        ");
    }

    proptest! {
        #[test]
        fn opening_never_panics(start in prop::sample::select(vec![&[0x78_u8, 0x9C][..], &[0x1F, 0x8B, 8, 0], b"<", b""]), rest in any::<Vec<u8>>()) {
            let _ = open(&[start, &rest].concat());
        }

        #[test]
        fn encoded_content_opens(content in "<[ -~é\n]{0,500}") {
            for coding in [Coding::Zlib, Coding::Gzip, Coding::Plain] {
                let (opened, bytes) = open(&seal(coding, content.as_bytes())).unwrap();
                prop_assert_eq!(opened, coding);
                prop_assert_eq!(&bytes, content.as_bytes());
            }
        }
    }
}
