//! Lines with a digest, so that a damaged line is recognised.

use packcast_protocol::Sha256Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Errors from reading a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the line was cut off, or changed after it was written")]
    Changed,
    #[error("another version of the agent wrote the line")]
    Json(#[from] serde_json::Error),
}

/// Writes a value as one line: the SHA-256 of its JSON in hexadecimal, a space, the JSON.
pub(crate) fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut line = Sha256Digest::of(&json).to_string().into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// Reads a value from a line with its line end.
pub(crate) fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, LineError> {
    let json = content(line).ok_or(LineError::Changed)?;
    Ok(serde_json::from_slice(json)?)
}

fn content(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (digest, json) = (&line[..space], &line[space + 1..]);
    (digest == Sha256Digest::of(json).to_string().as_bytes()).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_or_changed_is_an_error() {
        let whole = line(&("vlc", 7)).unwrap();
        assert_eq!(read::<(String, u32)>(&whole).unwrap().1, 7);
        for at in 0..whole.len() {
            assert!(read::<(String, u32)>(&whole[..at]).is_err(), "{at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(read::<(String, u32)>(&flipped).is_err(), "{at} {bit}");
            }
        }
    }

    #[test]
    fn messages_name_the_cause() {
        let json = serde_json::from_str::<u32>("").unwrap_err();
        let errors = [LineError::Changed, LineError::Json(json)];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        the line was cut off, or changed after it was written
        another version of the agent wrote the line
        ");
    }
}
