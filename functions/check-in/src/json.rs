//! The dialect of our own agents: signed JSON.

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
use packcast_store::RecordsError;
use packcast_store::key::pack_location;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Admission, admits_agent};
use crate::tasks::{Telling, tell};
use crate::{CheckIn, answer, documents, result};

/// Why a request is refused before the records are looked at.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the request has {bytes} bytes, at most {MAX_REQUEST_BYTES} are read")]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Signature(#[from] HttpSignatureError),
    #[error("the request does not read as JSON of this API")]
    Json(#[from] serde_json::Error),
    #[error(
        "the request carries {count} results, at most {MAX_REPORTS} are taken: send the rest after"
    )]
    TooMany { count: usize },
    #[error(
        "neither a pass nor an enrolment token of this target was shown: give the agent the target's enrolment token"
    )]
    NotEnrolled,
}

impl Refusal {
    fn response(&self, now: UnixTime) -> Response<Bytes> {
        let kind = match self {
            Self::TooLarge { .. } => ProblemKind::TooLarge,
            Self::Signature(HttpSignatureError::Skew { .. }) => ProblemKind::ClockSkew,
            Self::Signature(_) => ProblemKind::BadSignature,
            Self::Json(_) | Self::TooMany { .. } => ProblemKind::BadRequest,
            Self::NotEnrolled => ProblemKind::NotEnrolled,
        };
        let why = with_causes(self);
        tracing::info!(?kind, why, "request of an agent refused");
        answer::problem(kind, &why, now)
    }
}

/// A request without a reply.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Failure {
    fn response(&self, now: UnixTime) -> Response<Bytes> {
        match self {
            Self::Refused(refusal) => refusal.response(now),
            Self::Records(error) => {
                answer::log_records_error(error);
                answer::unavailable(now)
            }
        }
    }
}

fn respond(reply: Result<impl Serialize, Failure>, now: UnixTime) -> Response<Bytes> {
    match reply {
        Ok(reply) => answer::json(&reply),
        Err(failure) => failure.response(now),
    }
}

/// Answers a check-in.
pub(crate) async fn check_in(
    function: &CheckIn,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    respond(check_in_reply(function, request, now).await, now)
}

/// Answers results that are sent between check-ins.
pub(crate) async fn report(
    function: &CheckIn,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    respond(report_reply(function, request, now).await, now)
}

async fn check_in_reply(
    function: &CheckIn,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<CheckInReply, Failure> {
    let (agent, asked): (_, CheckInRequest) = signed(request, now)?;
    bounded(&asked.results)?;
    let admission = admits_agent(&function.settings, &agent, &asked);
    let admission = admission.ok_or(Refusal::NotEnrolled)?;
    let pass = (admission == Admission::Enrolment).then(|| function.settings.pass_key.pass(&agent));
    let reply = answer_check_in(function, &DeviceId::Agent(agent), &asked, now).await?;
    Ok(CheckInReply { pass, ..reply })
}

async fn report_reply(
    function: &CheckIn,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<ReportReply, Failure> {
    let (agent, sent): (_, ReportRequest) = signed(request, now)?;
    bounded(&sent.results)?;
    if !function.settings.pass_key.made(&agent, &sent.pass) {
        return Err(Refusal::NotEnrolled.into());
    }
    let accepted = record_all(function, &DeviceId::Agent(agent), &sent.results, now).await?;
    Ok(ReportReply { accepted })
}

fn signed<T: DeserializeOwned>(
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<(AgentId, T), Refusal> {
    let body = request.body();
    if body.len() > MAX_REQUEST_BYTES {
        return Err(Refusal::TooLarge { bytes: body.len() });
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

fn bounded(results: &[Report]) -> Result<(), Refusal> {
    if results.len() <= MAX_REPORTS {
        Ok(())
    } else {
        Err(Refusal::TooMany {
            count: results.len(),
        })
    }
}

async fn answer_check_in(
    function: &CheckIn,
    device: &DeviceId,
    asked: &CheckInRequest,
    now: UnixTime,
) -> Result<CheckInReply, RecordsError> {
    let accepted = record_all(function, device, &asked.results, now).await?;
    let standing = function.records.standing(device).await?;
    let os = format!("{} {}", asked.facts.os, asked.facts.arch);
    let says = ReportedFacts {
        host_name: Some(asked.facts.host_name.as_str()),
        agent: Some(asked.facts.agent.as_str()),
        os: Some(&os),
    };
    if let Some(record) = check_in_effect(device, standing.device.as_ref(), &says, now).write {
        function
            .records
            .write_check_in(&record, standing.device.as_ref())
            .await?;
    }
    let told = tell(function, device, standing, now).await?;
    let assignments = documents::assignments(function, device, &told.by, &asked.holds).await?;
    Ok(CheckInReply {
        pass: None,
        tasks: told.tasks.iter().map(task).collect(),
        cancel: told.called_off.iter().map(cancel).collect(),
        accepted,
        keys: function.groups.key_lists_after(asked.holds.keys),
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

fn task(telling: &Telling) -> Task {
    let package = &telling.package;
    Task {
        id: package.id,
        attempt: telling.task.attempt,
        priority: telling.task.priority,
        locations: telling
            .locations
            .iter()
            .map(|at| pack_location(&at.location, &package.folder))
            .collect(),
        manifest_sha256: telling.published.manifest,
        force: telling.task.force,
    }
}

/// Records results one after the other and returns the packages whose results arrived.
async fn record_all(
    function: &CheckIn,
    device: &DeviceId,
    results: &[Report],
    now: UnixTime,
) -> Result<Vec<PackageId>, RecordsError> {
    if results.is_empty() {
        return Ok(Vec::new());
    }
    // One read for all: a result that meets another change is decided anew by itself.
    let tasks = function.records.standing(device).await?.tasks;
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
        result::record(function, device, tasks.clone(), &reported, now).await?;
        accepted.push(report.id);
    }
    Ok(accepted)
}
