//! Requests of Packcast agents: signed JSON.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use packcast_protocol::api::{
    Cancel, CheckInReply, CheckInRequest, MAX_REPORTS, MAX_REQUEST_BYTES, ProblemKind, Report,
    ReportReply, ReportRequest, Task,
};
use packcast_protocol::http_signature::{
    CONTENT_DIGEST, HttpSignatureError, SIGNATURE, SIGNATURE_INPUT, SignedRequest, verify,
};
use packcast_protocol::{AgentId, DeviceId, PackageId, UnixTime, with_causes};
use packcast_rollout::{OpenTask, ReportedBy, ReportedFacts, check_in_effect};
use packcast_store::key::pack_location;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Admission, admits_agent};
use crate::device_access::{DeviceError, admitted_state, record_check_in};
use crate::tasks::{AnnouncedTask, announce_tasks};
use crate::{CheckInFunction, answer, documents, result};

/// Errors that refuse a request before the records are read.
#[derive(Debug, thiserror::Error)]
enum ApiRefusal {
    #[error("the request has {bytes} bytes, at most {MAX_REQUEST_BYTES} are allowed")]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Signature(#[from] HttpSignatureError),
    #[error("cannot read the request")]
    Json(#[from] serde_json::Error),
    #[error(
        "the request has {count} results, at most {MAX_REPORTS} are allowed: send the rest in further requests"
    )]
    TooMany { count: usize },
    #[error(
        "the request has neither a pass nor an enrolment token of this target: give the agent the target's enrolment token"
    )]
    NotEnrolled,
}

impl ApiRefusal {
    fn response(&self, now: UnixTime) -> Response<Bytes> {
        let kind = match self {
            Self::TooLarge { .. } => ProblemKind::TooLarge,
            Self::Signature(HttpSignatureError::Skew { .. }) => ProblemKind::ClockSkew,
            Self::Signature(_) => ProblemKind::BadSignature,
            Self::Json(_) | Self::TooMany { .. } => ProblemKind::BadRequest,
            Self::NotEnrolled => ProblemKind::NotEnrolled,
        };
        let reason = with_causes(self);
        tracing::info!(?kind, reason, "refused a request of a Packcast agent");
        answer::problem(kind, &reason, now)
    }
}

/// Errors from answering a request.
#[derive(Debug, thiserror::Error)]
enum ApiFailure {
    #[error(transparent)]
    Refused(#[from] ApiRefusal),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl ApiFailure {
    fn response(&self, now: UnixTime) -> Response<Bytes> {
        match self {
            Self::Refused(refusal) => refusal.response(now),
            Self::Device(DeviceError::Excluded(excluded)) => excluded.problem(now),
            Self::Device(DeviceError::OverBudget) => answer::unavailable(now),
            Self::Device(DeviceError::Records(error)) => {
                answer::log_records_error(error);
                answer::unavailable(now)
            }
        }
    }
}

fn respond(reply: Result<impl Serialize, ApiFailure>, now: UnixTime) -> Response<Bytes> {
    match reply {
        Ok(reply) => answer::json(&reply),
        Err(failure) => failure.response(now),
    }
}

/// Answers a check-in.
pub(crate) async fn check_in(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    respond(check_in_reply(function, request, now).await, now)
}

/// Answers a report, which agents send between check-ins.
pub(crate) async fn report(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    respond(report_reply(function, request, now).await, now)
}

async fn check_in_reply(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<CheckInReply, ApiFailure> {
    let (agent, sent): (_, CheckInRequest) = read_signed(request, now)?;
    check_count(&sent.results)?;
    let admission = admits_agent(&function.settings, &agent, &sent);
    let admission = admission.ok_or(ApiRefusal::NotEnrolled)?;
    // A pass follows from the agent's id and never changes, so only enrolment sends it.
    let pass = (admission == Admission::Enrolment).then(|| function.settings.pass_key.pass(&agent));
    let reply = answer_check_in(function, &DeviceId::Agent(agent), &sent, now).await?;
    Ok(CheckInReply { pass, ..reply })
}

async fn report_reply(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<ReportReply, ApiFailure> {
    let (agent, sent): (_, ReportRequest) = read_signed(request, now)?;
    check_count(&sent.results)?;
    if !function.settings.pass_key.verifies(&agent, &sent.pass) {
        return Err(ApiRefusal::NotEnrolled.into());
    }
    let accepted = record_all(function, &DeviceId::Agent(agent), &sent.results, now).await?;
    Ok(ReportReply { accepted })
}

/// Verifies a request and returns its agent and its body.
fn read_signed<T: DeserializeOwned>(
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<(AgentId, T), ApiRefusal> {
    let body = request.body();
    if body.len() > MAX_REQUEST_BYTES {
        return Err(ApiRefusal::TooLarge { bytes: body.len() });
    }
    let header = |name| header(request.headers(), name);
    let signed = SignedRequest {
        method: request.method().as_str(),
        path: request.uri().path(),
        body,
        content_digest: header(CONTENT_DIGEST),
        signature_input: header(SIGNATURE_INPUT),
        signature: header(SIGNATURE),
    };
    let agent = verify(signed, now)?;
    Ok((agent, serde_json::from_slice(body)?))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn check_count(results: &[Report]) -> Result<(), ApiRefusal> {
    if results.len() <= MAX_REPORTS {
        Ok(())
    } else {
        Err(ApiRefusal::TooMany {
            count: results.len(),
        })
    }
}

async fn answer_check_in(
    function: &CheckInFunction,
    device: &DeviceId,
    sent: &CheckInRequest,
    now: UnixTime,
) -> Result<CheckInReply, DeviceError> {
    let accepted = record_all(function, device, &sent.results, now).await?;
    let device_state = admitted_state(function, device).await?;
    let os = format!("{} {}", sent.facts.os, sent.facts.arch);
    let facts = ReportedFacts {
        host_name: Some(sent.facts.host_name.as_str()),
        agent: Some(sent.facts.agent.as_str()),
        os: Some(&os),
    };
    if let Some(record) = check_in_effect(device, device_state.device.as_ref(), &facts, now).write {
        record_check_in(function, &record, device_state.device.as_ref()).await?;
    }
    let announced = announce_tasks(function, device, device_state, now).await?;
    let assignments =
        documents::assignments(function, device, &announced.reconciled, &sent.holds).await?;
    Ok(CheckInReply {
        pass: None,
        tasks: announced.tasks.iter().map(task).collect(),
        cancel: announced.to_cancel.iter().map(cancel).collect(),
        accepted,
        keys: function.groups.key_lists_after(sent.holds.keys),
        assignments,
        next_check_in_s: function.settings.check_in_interval_s,
    })
}

const fn cancel(task: &OpenTask) -> Cancel {
    Cancel {
        id: task.package,
        attempt: task.attempt,
    }
}

fn task(announced: &AnnouncedTask) -> Task {
    let package = &announced.package;
    Task {
        id: package.id,
        attempt: announced.task.attempt,
        priority: announced.task.priority,
        locations: announced
            .locations
            .iter()
            .map(|at| pack_location(&at.location, &package.folder))
            .collect(),
        manifest_sha256: announced.published.manifest,
        force: announced.task.force,
    }
}

/// Records results one after the other, and returns the packages whose results were accepted.
async fn record_all(
    function: &CheckInFunction,
    device: &DeviceId,
    results: &[Report],
    now: UnixTime,
) -> Result<Vec<PackageId>, DeviceError> {
    if results.is_empty() {
        return Ok(Vec::new());
    }
    // One read serves all results: a result that meets a conflict reads the tasks again by
    // itself.
    let device_state = admitted_state(function, device).await?;
    let mut accepted = Vec::with_capacity(results.len());
    for report in results {
        let reported = result::Reported {
            package: report.id,
            by: ReportedBy::Agent {
                attempt: report.attempt,
            },
            code: report.code.clone(),
            detail: report.detail.as_ref().map(ToString::to_string),
            output_tail: report.output_tail.as_ref().map(ToString::to_string),
            finished_at: report.finished,
        };
        match result::record(function, device, device_state.clone(), &reported, now).await {
            Ok(()) => accepted.push(report.id),
            // The agent keeps the result, and sends it again later.
            Err(DeviceError::OverBudget) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        let json = serde_json::from_str::<ReportRequest>("{}").unwrap_err();
        let errors = [
            ApiRefusal::TooLarge { bytes: 600_000 },
            ApiRefusal::Json(json),
            ApiRefusal::TooMany { count: 65 },
            ApiRefusal::NotEnrolled,
        ];
        let lines = errors.map(|error| with_causes(&error));
        insta::assert_snapshot!(lines.join("\n"), @"
        the request has 600000 bytes, at most 524288 are allowed
        cannot read the request: missing field `pass` at line 1 column 2
        the request has 65 results, at most 64 are allowed: send the rest in further requests
        the request has neither a pass nor an enrolment token of this target: give the agent the target's enrolment token
        ");
    }
}
