//! Refusals and failures as problem details (RFC 9457).

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// A refused or failed request, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Kind of the problem, for programs.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// Cause and remedy, for people.
    pub detail: String,
    /// Time of the function's clock, so that a device with a wrong clock can sign again.
    pub now: UnixTime,
}

/// Kind of a problem, for programs. Readers take an unknown kind for `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = open_to_new_kinds)]
pub enum ProblemKind {
    /// The request does not have the form of the API: 400.
    BadRequest,
    /// The signature does not verify: 401.
    BadSignature,
    /// The signature's time differs too much from the function's clock: 401.
    ClockSkew,
    /// The request has neither an enrolment token nor a pass of this target: 403.
    NotEnrolled,
    /// The device is blocked: 403. It keeps its results, and asks again later.
    Blocked,
    /// The device was removed: 403. It asks again later, with the same pass.
    Removed,
    /// The address does not exist: 404.
    NotFound,
    /// The body is too large: 413.
    TooLarge,
    /// The records are unreachable: 503, retry later.
    Unavailable,
    /// A kind that this version does not know: 400.
    #[serde(other)]
    Other,
}

/// Adds to the schema that `#[serde(other)]` accepts any text as a kind.
fn open_to_new_kinds(schema: &mut Schema) {
    if let Some(serde_json::Value::Array(mut kinds)) = schema.remove("oneOf") {
        kinds.push(
            serde_json::json!({ "description": "A kind of a later version.", "type": "string" }),
        );
        schema.insert("anyOf".to_owned(), kinds.into());
    }
}
