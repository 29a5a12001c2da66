//! The document of a location.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StateDocument;
use crate::location::Location;
use crate::schema::Schema;

/// The address of a location. An agent fetches only from locations of its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocationDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Address of the location.
    pub url: Location,
}

impl LocationDocument {
    pub const fn new(url: Location) -> Self {
        let schema = Schema;
        Self { schema, url }
    }
}

impl StateDocument for LocationDocument {
    const NAME: &'static str = "location document";
}
