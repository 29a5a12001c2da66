//! The document about a commit, for administrators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlainText, StateDocument};
use crate::schema::Schema;

/// Author and purpose of a commit, in the words of its publisher. Devices never receive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AboutDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Name of the administrator.
    pub author: PlainText<128>,
    /// Name of the publisher's machine.
    pub host: PlainText<253>,
    /// Command that created the commit.
    pub command: PlainText<1024>,
    /// Note of the administrator.
    pub note: PlainText<1024>,
}

impl AboutDocument {
    /// Creates a document from texts, which are shortened if necessary.
    pub fn shortened(author: &str, host: &str, command: &str, note: &str) -> Self {
        Self {
            schema: Schema,
            author: PlainText::shortened(author),
            host: PlainText::shortened(host),
            command: PlainText::shortened(command),
            note: PlainText::shortened(note),
        }
    }
}

impl StateDocument for AboutDocument {
    const NAME: &'static str = "document about a commit";
}
