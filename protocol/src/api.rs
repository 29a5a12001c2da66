//! The JSON API between Packcast agents and the check-in function.
//!
//! Agents sign each request ([`crate::http_signature`]), with a header that admits it
//! ([`Admission`]). Readers ignore unknown fields, so that agents and functions of different
//! versions understand each other. A test compares the JSON Schemas in `protocol/schemas/` with
//! these types.

mod admission;
mod begin;
mod bounded_text;
mod check_in;
mod daily_facts;
mod problem;
mod report;
mod secret;

pub use admission::{ADMISSION, Admission, AdmissionError};
pub use begin::{BeginReply, BeginRequest, GO_VALID_S, HoldWord};
pub use bounded_text::BoundedText;
pub use check_in::{Cancel, CheckInReply, CheckInRequest, DeviceFacts, Task};
pub use daily_facts::{
    DailyFacts, DailyFactsError, FactValues, FreePercent, MAX_FACTS_BYTES, MAX_VOLUMES, SiteLabel,
    VolumeFact,
};
pub use problem::{Problem, ProblemKind};
pub use report::{Report, ReportReply, ReportRequest, TAIL_BYTES};
pub use secret::{Secret, SecretError};

/// Path of check-ins.
pub const CHECK_IN_PATH: &str = "/v1/check-in";

/// Path of reports.
pub const REPORT_PATH: &str = "/v1/report";

/// Path of the question before a package begins.
pub const BEGIN_PATH: &str = "/v1/begin";

/// Largest request body that the function reads, in bytes.
pub const MAX_REQUEST_BYTES: usize = 512 << 10;

/// Largest number of results in one request.
pub const MAX_REPORTS: usize = 64;
