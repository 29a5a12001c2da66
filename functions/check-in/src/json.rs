//! Requests of Packcast agents: signed JSON.

use bytes::Bytes;
use http::{Request, Response};
use packcast_protocol::api::{
    Admission, BeginReply, BeginRequest, BoundedText, Cancel, CheckInReply, CheckInRequest,
    MAX_REPORTS, MAX_REQUEST_BYTES, ProblemKind, Report, ReportReply, ReportRequest, Task,
};
use packcast_protocol::enrolment::{BatchId, EnrolmentBatch};
use packcast_protocol::http_signature::{HttpSignatureError, SignedHeaders};
use packcast_protocol::state::exchange::MachineFacts;
use packcast_protocol::{AgentId, DeviceId, Excerpt, PackageId, UnixTime, with_causes};
use packcast_rollout::{
    DeviceRecord, FactsEffect, FactsRecord, OpenTask, ReportedBy, ReportedFacts, ReportedWaits,
    check_in_effect, reported_system,
};
use packcast_store::records::{CheckInItems, Enrolment};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Grounds, admits_check_in, admits_report};
use crate::device_access::{DeviceError, admitted_state, record_check_in};
use crate::refusals::RefusalKind;
use crate::settings::FunctionSettings;
use crate::tasks::{AnnouncedTask, announce_tasks};
use crate::{CheckInFunction, answer, begin, result, rollouts, sent_state};

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
        "the request's pass or enrolment token is not valid for this target: give the agent the target's enrolment token"
    )]
    NotEnrolled,
    #[error(
        "the enrolment token has reached its device limit ({devices}): give the agent a new enrolment token"
    )]
    BatchFull { devices: u32 },
    #[error("the enrolment token was revoked: give the agent a new enrolment token")]
    BatchRevoked,
}

impl ApiRefusal {
    /// Returns the kind for the agent and the kind for the log.
    const fn kinds(&self) -> (ProblemKind, RefusalKind) {
        match self {
            Self::TooLarge { .. } => (ProblemKind::TooLarge, RefusalKind::Size),
            Self::NotEnrolled
            | Self::BatchFull { .. }
            | Self::BatchRevoked
            | Self::Signature(HttpSignatureError::NoAdmission) => {
                (ProblemKind::NotEnrolled, RefusalKind::Admission)
            }
            Self::Signature(HttpSignatureError::Skew { .. }) => {
                (ProblemKind::ClockSkew, RefusalKind::Clock)
            }
            Self::Signature(HttpSignatureError::Body | HttpSignatureError::Mismatch) => {
                (ProblemKind::BadSignature, RefusalKind::Signature)
            }
            Self::Signature(
                HttpSignatureError::Missing(_)
                | HttpSignatureError::Repeated(_)
                | HttpSignatureError::TooLong(_)
                | HttpSignatureError::Malformed(_),
            ) => (ProblemKind::BadSignature, RefusalKind::Headers),
            Self::Json(_) | Self::TooMany { .. } => (ProblemKind::BadRequest, RefusalKind::Content),
        }
    }

    fn response(&self, function: &CheckInFunction, now: UnixTime) -> Response<Bytes> {
        let (problem, kind) = self.kinds();
        let reason = with_causes(self);
        match kind {
            RefusalKind::Content => function.refusals().count_content(Excerpt::of(&reason)),
            kind => function.refusals().count(kind),
        }
        answer::problem(problem, &reason, now)
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
    fn response(&self, function: &CheckInFunction, now: UnixTime) -> Response<Bytes> {
        match self {
            Self::Refused(refusal) => refusal.response(function, now),
            Self::Device(DeviceError::Excluded(excluded)) => excluded.problem(now),
            Self::Device(DeviceError::OverBudget) => answer::unavailable(now),
            Self::Device(DeviceError::Records(error)) => {
                answer::log_records_error(error);
                answer::unavailable(now)
            }
        }
    }
}

fn respond(
    function: &CheckInFunction,
    reply: Result<impl Serialize, ApiFailure>,
    now: UnixTime,
) -> Response<Bytes> {
    match reply {
        Ok(reply) => answer::json(&reply),
        Err(failure) => failure.response(function, now),
    }
}

/// Answers a check-in.
pub(crate) async fn check_in(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    let reply = check_in_reply(function, request, now).await;
    respond(function, reply, now)
}

/// Answers a report, which agents send between check-ins.
pub(crate) async fn report(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    let reply = report_reply(function, request, now).await;
    respond(function, reply, now)
}

/// Answers a device that is about to begin with a package.
pub(crate) async fn begin(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    let reply = begin_reply(function, request, now).await;
    respond(function, reply, now)
}

async fn check_in_reply(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<CheckInReply, ApiFailure> {
    let admitted = read(function, request, admits_check_in, now)?;
    let sent: CheckInRequest = admitted.content;
    check_count(&sent.results)?;
    // A pass follows from the agent's id and never changes, so only enrolment sends it.
    let pass = match admitted.grounds {
        Grounds::Pass => None,
        Grounds::Token | Grounds::Batch(_) => {
            Some(function.settings.pass_key.pass(&admitted.agent))
        }
    };
    let device = DeviceId::Agent(admitted.agent);
    let batch = match &admitted.grounds {
        Grounds::Batch(batch) => {
            enrol(function, &device, batch).await?;
            Some(batch.id())
        }
        Grounds::Pass | Grounds::Token => None,
    };
    let reply = answer_check_in(function, &device, &sent, batch, now).await?;
    Ok(CheckInReply { pass, ..reply })
}

/// Counts the enrolment of a device with the token of a batch.
///
/// A device with a record was counted before. It may enrol again, because its pass may be lost.
async fn enrol(
    function: &CheckInFunction,
    device: &DeviceId,
    batch: &EnrolmentBatch,
) -> Result<(), ApiFailure> {
    let device_state = admitted_state(function, device).await?;
    if device_state.device.is_some() {
        return Ok(());
    }
    let counted = function.records.count_enrolment(batch, device).await;
    match counted.map_err(DeviceError::from)? {
        Enrolment::Counted => Ok(()),
        Enrolment::Full => {
            let devices = batch.devices();
            Err(ApiRefusal::BatchFull { devices }.into())
        }
        Enrolment::Revoked => Err(ApiRefusal::BatchRevoked.into()),
    }
}

async fn report_reply(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<ReportReply, ApiFailure> {
    let admitted = read(function, request, admits_report, now)?;
    let sent: ReportRequest = admitted.content;
    check_count(&sent.results)?;
    let device = DeviceId::Agent(admitted.agent);
    let accepted = record_all(function, &device, &sent.results, now).await?;
    Ok(ReportReply { accepted })
}

async fn begin_reply(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Result<BeginReply, ApiFailure> {
    let admitted = read(function, request, admits_report, now)?;
    let asked: BeginRequest = admitted.content;
    let device = DeviceId::Agent(admitted.agent);
    Ok(begin::answer(function, &device, &asked, now).await?)
}

/// A request that was admitted, verified and parsed, in this order.
struct AdmittedRequest<T> {
    agent: AgentId,
    grounds: Grounds,
    content: T,
}

/// Reads a request.
///
/// A stranger can send any body and sign it with a fresh key. So the function first looks at the
/// size and at the headers of bounded length. It reads the body only if they admit the request.
fn read<T: DeserializeOwned>(
    function: &CheckInFunction,
    request: &Request<Bytes>,
    admits: fn(&FunctionSettings, &AgentId, &Admission, UnixTime) -> Option<Grounds>,
    now: UnixTime,
) -> Result<AdmittedRequest<T>, ApiRefusal> {
    let body = request.body();
    if body.len() > MAX_REQUEST_BYTES {
        return Err(ApiRefusal::TooLarge { bytes: body.len() });
    }
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = SignedHeaders::read(headers)?;
    let (settings, named) = (&function.settings, headers.named_agent());
    let grounds =
        admits(settings, &named, headers.admission(), now).ok_or(ApiRefusal::NotEnrolled)?;
    let (method, path) = (request.method().as_str(), request.uri().path());
    let agent = headers.verify(method, path, body, now)?;
    Ok(AdmittedRequest {
        agent,
        grounds,
        content: serde_json::from_slice(body)?,
    })
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
    batch: Option<&BatchId>,
    now: UnixTime,
) -> Result<CheckInReply, DeviceError> {
    let accepted = record_all(function, device, &sent.results, now).await?;
    let mut device_state = admitted_state(function, device).await?;
    if !device_state.settling.is_empty() {
        // Boxed, because few check-ins need it.
        let boot = sent.machine.boot.as_ref();
        Box::pin(rollouts::settle(
            function,
            device,
            &mut device_state,
            boot,
            now,
        ))
        .await?;
    }
    let known = device_state.device.as_ref();
    let os = reported_system(
        known.and_then(|known| known.facts.as_ref()),
        &sent.facts,
        sent.daily.as_ref(),
    );
    let facts = ReportedFacts {
        host_name: Some(sent.facts.host_name.as_str()),
        agent: Some(sent.facts.agent.as_str()),
        os: os.as_deref(),
        machine: Some(&sent.machine),
        waits: Some(ReportedWaits {
            known: &device_state.waits,
            reported: sent.waits.as_slice(),
            tasks: &device_state.tasks,
        }),
        daily: sent.daily.as_ref(),
        batch,
    };
    let effect = check_in_effect(device, known, &facts, now);
    let mut daily_recorded = effect.facts == FactsEffect::OnRecord;
    if let Some(record) = effect.write {
        log_other_machine(&record, known, &sent.machine);
        let facts = facts_to_write(device, &effect.facts, sent);
        let items = CheckInItems {
            waits: effect.waits.as_deref(),
            facts: facts.as_ref(),
        };
        let is_written = record_check_in(function, &record, known, items).await?;
        daily_recorded |= is_written && facts.is_some();
        device_state.device = Some(record);
    }
    let announced = announce_tasks(function, device, device_state, now).await?;
    let state = sent_state::lacking(function, device, sent, &announced, now).await?;
    function.count_state(device, &sent.holds, now);
    let device_state = &announced.reconciled.device_state;
    let next_check_in_s = rollouts::next_check_in_s(function, device_state, now);
    Ok(CheckInReply {
        pass: None,
        tasks: announced.tasks.iter().map(task).collect(),
        cancel: announced.to_cancel.iter().map(cancel).collect(),
        accepted,
        daily_recorded,
        state,
        next_check_in_s,
    })
}

/// Returns the daily facts of a check-in that are to be written.
fn facts_to_write(
    device: &DeviceId,
    effect: &FactsEffect,
    sent: &CheckInRequest,
) -> Option<FactsRecord> {
    let FactsEffect::Write(mark) = effect else {
        return None;
    };
    Some(FactsRecord {
        device: device.clone(),
        at: mark.at,
        facts: sent.daily.clone()?,
    })
}

/// Logs a machine that uses the identity of another one, at most once a day for each device.
fn log_other_machine(record: &DeviceRecord, known: Option<&DeviceRecord>, facts: &MachineFacts) {
    let other_of = |record: &DeviceRecord| record.machine.as_ref()?.other.clone();
    let Some(other) = other_of(record) else {
        return;
    };
    if known.and_then(other_of).as_ref() == Some(&other) {
        return;
    }
    let of = |id: Option<&BoundedText<64>>| id.map(|id| Excerpt::of(id.as_str()));
    let machine = record.machine.as_ref();
    let on_record = of(machine.and_then(|machine| machine.same_kind(&other.id)));
    tracing::warn!(
        device = %record.device,
        on_record = on_record.as_ref().map(Excerpt::as_str),
        machine = Excerpt::of(other.id.as_str()).as_str(),
        boot = of(facts.boot.as_ref()).as_ref().map(Excerpt::as_str),
        "two machines use the identity of one device"
    );
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
            .map(|at| at.name.clone())
            .collect(),
        folder: package.folder.clone(),
        manifest_sha256: announced.published.manifest,
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
    let last_seen = device_state.device.as_ref().map(|record| record.last_seen);
    let mut is_marked = false;
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
            mandates: report.mandates.clone(),
            boot: report.boot.clone(),
            finished_at: report.finished,
        };
        match result::record(function, device, device_state.clone(), &reported, now).await {
            Ok(ends_task) => {
                accepted.push(report.id);
                if ends_task && !is_marked {
                    // Once for all results of the request, even if it fails.
                    is_marked = true;
                    result::mark_seen(function, device, last_seen, now).await;
                }
            }
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
            ApiRefusal::BatchFull { devices: 500 },
            ApiRefusal::BatchRevoked,
        ];
        let lines = errors.map(|error| with_causes(&error));
        insta::assert_snapshot!(lines.join("\n"), @"
        the request has 600000 bytes, at most 524288 are allowed
        cannot read the request: missing field `results` at line 1 column 2
        the request has 65 results, at most 64 are allowed: send the rest in further requests
        the request's pass or enrolment token is not valid for this target: give the agent the target's enrolment token
        the enrolment token has reached its device limit (500): give the agent a new enrolment token
        the enrolment token was revoked: give the agent a new enrolment token
        ");
    }
}
