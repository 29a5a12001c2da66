//! The JSON API between our agent and the check-in function.
//!
//! Requests are signed ([`crate::http_signature`]). Readers ignore fields they do not know,
//! so that agents and functions of different age understand each other; the JSON Schemas
//! under `protocol/schemas/` are held equal to these types by a test.

mod check_in;
mod problem;
mod report;
mod secret;

pub use check_in::{Cancel, CheckInReply, CheckInRequest, DeviceFacts, HeldDocuments, Task};
pub use problem::{Problem, ProblemKind};
pub use report::{Report, ReportReply, ReportRequest, TAIL_BYTES, Text};
pub use secret::{Secret, SecretError};

/// Where a check-in is posted.
pub const CHECK_IN_PATH: &str = "/v1/check-in";

/// Where results are posted.
pub const REPORT_PATH: &str = "/v1/report";

/// The largest request body that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 512 << 10;

/// The most results that one request carries.
pub const MAX_REPORTS: usize = 64;
