//! The report: a device sends the results of its attempts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BoundedText;
use crate::package::PackageId;
use crate::result::ResultCode;
use crate::state::exchange::{BoundedList, UsedMandates};
use crate::time::UnixTime;

/// Length of the output's end that a report carries, in bytes.
pub const TAIL_BYTES: usize = 4096;

/// Body of a request to `/v1/report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRequest {
    /// Results of attempts, at most 64.
    #[schemars(length(max = super::MAX_REPORTS))]
    pub results: Vec<Report>,
}

/// Reply to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportReply {
    /// Packages of the results that the function has accepted and the device need not send
    /// again.
    pub accepted: Vec<PackageId>,
}

/// The result of one attempt at one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Id of the package.
    pub id: PackageId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Result of the attempt.
    pub code: ResultCode,
    /// Details in words that the code lacks, such as the fragment, the path or the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<BoundedText<1024>>,
    /// End of the program's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tail: Option<BoundedText<TAIL_BYTES>>,
    /// Time of the result by the device's own clock.
    pub finished: UnixTime,
    /// Id of the run of the system in which the attempt ended, if the system has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BoundedText<64>>,
    /// The mandates that the attempt has used up; empty if it has changed nothing on the device.
    #[serde(default, skip_serializing_if = "BoundedList::is_empty")]
    pub mandates: UsedMandates,
}
