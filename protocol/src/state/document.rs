//! Documents of a state: JSON texts that are found by their digest.
//!
//! Each value has a canonical form: the fields in a fixed order, sets sorted, no spaces. A reader
//! refuses any other form. A document does not contain the name of its owner; the leaf with the
//! document's digest does.

mod about;
mod device;
mod entry;
mod group;
mod location;
mod plain_text;
mod rollout;
mod terms;

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;

pub use about::AboutDocument;
pub use device::{DeviceDocument, DeviceGroups, DeviceGroupsError, MAX_DEVICE_GROUPS};
pub use entry::{Entries, EntriesError, MAX_ENTRIES, MAX_ENTRIES_BYTES, StateEntry};
pub use group::{GroupDocument, GroupOrigin};
pub use location::LocationDocument;
pub use plain_text::{PlainText, PlainTextError};
pub use rollout::{
    MAX_ROLLOUT_GROUPS, MAX_WAVES, RolloutDocument, RolloutGroups, RolloutGroupsError, RolloutSeed,
    RolloutSeedError, SLOTS, Slot, SlotError, Wave, WaveDevices, WaveNumber, WaveNumberError,
    Waves, WavesError,
};
pub use terms::{DOWNGRADE, MAX_TERMS_BYTES, ROLLOUT, Terms, VOCABULARY};

/// Largest text of a document, in bytes. Every valid value fits.
pub const MAX_TEXT_BYTES: usize = 256 << 10;

/// A value of which a state contains the text.
///
/// The largest text of a valid value has at most [`MAX_TEXT_BYTES`] bytes. A reader refuses
/// unknown fields: an older agent must not skip a rule that a newer publisher adds.
pub trait StateDocument: Serialize + DeserializeOwned {
    /// Name of the kind in errors.
    const NAME: &'static str;
}

/// The exact text of a document, of at most [`MAX_TEXT_BYTES`] bytes, with its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentText {
    text: String,
    digest: Sha256Digest,
}

/// A document that was read or written, with its exact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<T> {
    value: T,
    text: DocumentText,
}

/// Errors from reading a document.
///
/// The device waits: a newer publisher may have written the document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("cannot read the {name}")]
    Json {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("the {name} is not in canonical form")]
    NotCanonical { name: &'static str },
}

/// A text above the size limit of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document has {bytes} bytes, at most {MAX_TEXT_BYTES} are allowed")]
pub struct DocumentTooLarge {
    bytes: usize,
}

impl DocumentText {
    pub fn new(text: String) -> Result<Self, DocumentTooLarge> {
        let bytes = text.len();
        if bytes > MAX_TEXT_BYTES {
            return Err(DocumentTooLarge { bytes });
        }
        let digest = Sha256Digest::of(text.as_bytes());
        Ok(Self { text, digest })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

impl TryFrom<String> for DocumentText {
    type Error = DocumentTooLarge;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<DocumentText> for String {
    fn from(text: DocumentText) -> Self {
        text.text
    }
}

impl JsonSchema for DocumentText {
    fn schema_name() -> Cow<'static, str> {
        "DocumentText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The exact text of a document, which its digest refers to.",
            "type": "string",
            "maxLength": MAX_TEXT_BYTES,
        })
    }
}

impl<T: StateDocument> Document<T> {
    /// Writes a value. Equal values have equal texts.
    pub fn new(value: T) -> Self {
        let text = DocumentText::new(written(&value));
        let text = text.expect("every valid value fits into a document");
        Self { value, text }
    }

    /// Reads a text, which must be in canonical form.
    ///
    /// Another reader could take another one of two equal names, so a text with repeated names has
    /// no meaning.
    pub fn read(text: DocumentText) -> Result<Self, DocumentError> {
        let name = T::NAME;
        let value: T = serde_json::from_str(text.as_str())
            .map_err(|source| DocumentError::Json { name, source })?;
        if written(&value) == text.as_str() {
            Ok(Self { value, text })
        } else {
            Err(DocumentError::NotCanonical { name })
        }
    }
}

/// Returns the canonical form of a value.
fn written<T: StateDocument>(value: &T) -> String {
    serde_json::to_string(value).expect("documents have names as keys")
}

impl<T> Document<T> {
    pub const fn text(&self) -> &DocumentText {
        &self.text
    }

    pub const fn digest(&self) -> Sha256Digest {
        self.text.digest()
    }
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests;
