//! What the function answers when it does not do what was asked (RFC 9457).

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// A refusal, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// What is wrong and what to do, for a person.
    pub detail: String,
    /// The function's clock, so that a device with a wrong one can sign again.
    pub now: UnixTime,
}

/// What kind of refusal it is, for a program. Kinds to come read as `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = kinds_to_come)]
pub enum ProblemKind {
    /// The request is not in the form of the API: 400.
    BadRequest,
    /// The signature does not hold: 401.
    BadSignature,
    /// The signature's time is too far from the function's: 401.
    ClockSkew,
    /// Neither an enrolment token nor a pass of this target was shown: 403.
    NotEnrolled,
    /// There is nothing at this address: 404.
    NotFound,
    /// The body is too large: 413.
    TooLarge,
    /// The records cannot be reached now: 503, try again later.
    Unavailable,
    #[serde(other)]
    Other,
}

/// Says in the schema what `#[serde(other)]` does: any text is a kind.
fn kinds_to_come(schema: &mut Schema) {
    if let Some(serde_json::Value::Array(mut kinds)) = schema.remove("oneOf") {
        kinds.push(serde_json::json!({ "description": "A kind to come.", "type": "string" }));
        schema.insert("anyOf".to_owned(), kinds.into());
    }
}
