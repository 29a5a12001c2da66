//! The parts of a state as text in a reply, so that an unreadable state does not cost the reply.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::StateReply;
use crate::digest::Sha256Digest;
use crate::state::commit::{CommitId, SignedCommit};

/// Largest state in a reply, in bytes: 2 MB. The text counts with its escapes as a JSON string.
pub const MAX_STATE_BYTES: usize = 2 << 20;

/// The JSON text of a [`StateReply`], which is not read yet.
///
/// A check-in reply contains the text as a JSON string. Reading the reply does not read the state:
/// a state of a later version is one refusal, and the device still receives the rest of the reply.
/// So a text above the limit is refused by [`StateText::parse`] and not before; the size of the
/// reply limits it until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateText(String);

/// Errors in the text of a state.
#[derive(Debug, thiserror::Error)]
pub enum StateTextError {
    #[error("the state has {bytes} bytes in the reply, at most {MAX_STATE_BYTES} are allowed")]
    TooLarge { bytes: usize },
    #[error("cannot read the state: update the agent")]
    Json(#[source] serde_json::Error),
    #[error("the state does not name the commit of its parts")]
    NoCommit,
    #[error("the state has a commit with SHA-256 {found}, and parts of commit {of}")]
    OtherCommit { of: CommitId, found: Sha256Digest },
}

impl StateText {
    /// Writes the parts of a state.
    ///
    /// Fails if the text is too large: leave out documents, and set `more`.
    pub fn new(reply: &StateReply) -> Result<Self, StateTextError> {
        check_commit(reply)?;
        let text = serde_json::to_string(reply).map_err(StateTextError::Json)?;
        check_size(&text)?;
        Ok(Self(text))
    }

    /// Reads the parts of the state. They are not verified.
    pub fn parse(&self) -> Result<StateReply, StateTextError> {
        check_size(&self.0)?;
        let reply = serde_json::from_str(&self.0).map_err(StateTextError::Json)?;
        check_commit(&reply)?;
        Ok(reply)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_size(text: &str) -> Result<(), StateTextError> {
    let bytes = json_string_bytes(text);
    if bytes <= MAX_STATE_BYTES {
        Ok(())
    } else {
        Err(StateTextError::TooLarge { bytes })
    }
}

/// Checks that a reply with parts of a state names their commit.
fn check_commit(reply: &StateReply) -> Result<(), StateTextError> {
    let trees = [&reply.groups, &reply.devices, &reply.ancestors];
    let has_parts = trees.iter().any(|tree| tree.is_some()) || !reply.documents.is_empty();
    match (reply.of, reply.commit.as_ref().map(SignedCommit::digest)) {
        (None, None) if !has_parts => Ok(()),
        (None, _) => Err(StateTextError::NoCommit),
        (Some(of), Some(found)) if of.digest != found => {
            Err(StateTextError::OtherCommit { of, found })
        }
        (Some(_), _) => Ok(()),
    }
}

/// Returns the length of a text as a JSON string, with quotation marks and escapes.
fn json_string_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    });
    bytes.sum::<usize>() + 2
}

impl JsonSchema for StateText {
    fn schema_name() -> Cow<'static, str> {
        "StateText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The JSON text of a `StateReply`.",
            "type": "string",
            "maxLength": MAX_STATE_BYTES,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;
    use crate::state::commit::tests::commit;
    use crate::state::document::DocumentText;
    use crate::state::test_keys::signed;

    fn id(digest: Sha256Digest) -> CommitId {
        CommitId { number: 7, digest }
    }

    /// A reply with a document of quotation marks, which take four bytes each.
    fn reply(quotes: usize) -> StateReply {
        let signed: SignedCommit = signed(&commit(), 0);
        StateReply {
            of: Some(id(signed.digest())),
            commit: Some(signed),
            documents: vec![DocumentText::new("\"".repeat(quotes)).unwrap()],
            ..StateReply::default()
        }
    }

    #[test]
    fn a_state_reads_back_from_its_text() {
        let reply = reply(9);
        let text = StateText::new(&reply).unwrap();
        assert_eq!(text.parse().unwrap(), reply);
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json, serde_json::to_string(text.as_str()).unwrap());
        let read: StateText = serde_json::from_str(&json).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn an_unreadable_state_is_read_as_text_and_refused_alone() {
        let long = "\n".repeat(MAX_STATE_BYTES / 2);
        for text in ["", "{", "7", r#"{"documents":7}"#, &long] {
            let json = serde_json::to_string(text).unwrap();
            let read: StateText = serde_json::from_str(&json).unwrap();
            assert!(read.parse().is_err(), "{text:.80}");
        }
        let longest = StateText(" ".repeat(MAX_STATE_BYTES - 4) + "{}");
        assert_eq!(longest.parse().unwrap(), StateReply::default());
    }

    #[test]
    fn the_size_counts_escapes() {
        let many = |count| StateReply {
            documents: vec![reply(200 << 10).documents[0].clone(); count],
            ..reply(0)
        };
        assert!(StateText::new(&many(2)).is_ok());
        assert!(matches!(
            StateText::new(&many(3)),
            Err(StateTextError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_state_with_parts_names_their_commit() {
        let parsed = |reply: &StateReply| {
            let written = StateText::new(reply).map(|_| ());
            let text = serde_json::to_string(reply).unwrap();
            let read = StateText(text).parse().map(|_| ());
            assert_eq!(written.is_ok(), read.is_ok());
            read
        };
        assert!(parsed(&reply(1)).is_ok());
        let without_commit = StateReply {
            commit: None,
            ..reply(1)
        };
        assert!(parsed(&without_commit).is_ok());
        for unnamed in [without_commit, reply(1)] {
            let of = None;
            let result = parsed(&StateReply { of, ..unnamed });
            assert!(
                matches!(result, Err(StateTextError::NoCommit)),
                "{result:?}"
            );
        }
        let of = Some(id(Sha256Digest::of(b"other")));
        let result = parsed(&StateReply { of, ..reply(1) });
        assert!(
            matches!(result, Err(StateTextError::OtherCommit { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn error_messages() {
        let digest = Sha256Digest::of(b"");
        let json = StateText("{\"more\":1}".to_owned()).parse().unwrap_err();
        insta::assert_snapshot!(messages([
            StateTextError::TooLarge { bytes: 3_000_000 },
            json,
            StateTextError::NoCommit,
            StateTextError::OtherCommit { of: id(digest), found: Sha256Digest::of(b"x") },
        ]), @"
        the state has 3000000 bytes in the reply, at most 2097152 are allowed
        cannot read the state: update the agent: invalid type: integer `1`, expected a boolean at line 1 column 9
        the state does not name the commit of its parts
        the state has a commit with SHA-256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, and parts of commit 7-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        ");
    }

    proptest! {
        #[test]
        fn the_length_is_that_of_the_written_string(text: String) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(json_string_bytes(&text), written.len());
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = StateText(text).parse();
        }
    }
}
