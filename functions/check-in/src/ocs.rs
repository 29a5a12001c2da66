//! The dialect of stock OCS agents.

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Request, Response, StatusCode};
use packcast_protocol::ocs::envelope::{self, Coding, EnvelopeError};
use packcast_protocol::ocs::reply::{
    DOWNLOAD_REPLY, Deployment, INVENTORY_REFUSAL, INVENTORY_REPLY, InventoryAsk, Pack, PrologReply,
};
use packcast_protocol::ocs::request::{self, Inventory, Query, RequestError};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, OcsDeviceId, Outcome, PackageId, ResultCode, UnixTime};
use packcast_rollout::order::{Instruction, Mode, Note, instruct, put_back};
use packcast_rollout::pace::{Announced, Pace};
use packcast_rollout::{FinishedTask, Introduction, OpenTask, ReportedBy, contact};
use packcast_store::RecordsError;
use packcast_store::key::{info_location, pack_location};
use packcast_store::records::{Recorded, Standing};

use crate::reconcile::reconciled;
use crate::tasks::{Telling, tell};
use crate::{CheckIn, answer, result};

/// Answers one request of a stock agent, in the coding it came in.
pub(crate) async fn answer(
    function: &CheckIn,
    request: &Request<Bytes>,
    now: UnixTime,
) -> Response<Bytes> {
    let (coding, parsed) = match read(request.body()) {
        Ok(read) => read,
        Err(refusal) => return refusal.response(),
    };
    let agent = user_agent(request);
    let reply = match parsed.query {
        Query::Prolog => prolog(function, parsed.device, agent, now)
            .await
            .map(|reply| reply.to_xml().into_bytes()),
        Query::Download { package, code } => download(function, parsed.device, package, code, now)
            .await
            .map(|()| DOWNLOAD_REPLY.to_vec()),
        Query::Inventory(inventory) => {
            inventory_received(function, parsed.device, &inventory, agent, now)
                .await
                .map(<[u8]>::to_vec)
        }
        Query::Other(query) => {
            tracing::info!(device = %parsed.device, query, "request needs no answer");
            Ok(Vec::new())
        }
    };
    match reply {
        // An empty body stays empty: there is nothing to inflate (protocol reference §0 rule 5).
        Ok(body) if body.is_empty() => answer::compressed(body),
        Ok(body) => answer::compressed(envelope::seal(coding, &body)),
        Err(error) => {
            answer::log_records_error(&error);
            answer::stock_unavailable()
        }
    }
}

/// Why a body is not a request of a stock agent.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Refusal {
    fn response(&self) -> Response<Bytes> {
        let status = match self {
            Self::Envelope(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Envelope(_) | Self::Request(_) => StatusCode::BAD_REQUEST,
        };
        let why = self.to_string();
        tracing::info!(
            status = status.as_u16(),
            why,
            "request of a stock agent refused"
        );
        answer::stock_failure(status, &why)
    }
}

fn read(body: &[u8]) -> Result<(Coding, request::Request), Refusal> {
    let (coding, content) = envelope::open(body)?;
    Ok((coding, request::Request::parse(&content)?))
}

fn user_agent(request: &Request<Bytes>) -> Option<&str> {
    let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
    agent.get(..agent.len().min(64))
}

async fn prolog(
    function: &CheckIn,
    id: OcsDeviceId,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<PrologReply, RecordsError> {
    let host_name = id.host_name().to_owned();
    let device = DeviceId::Ocs(id);
    let standing = function.records.standing(&device).await?;
    // An inventory knows the host's name better than the DEVICEID does.
    let says = Introduction {
        host_name: standing.device.is_none().then_some(&*host_name),
        agent,
        os: None,
    };
    let contact = contact(&device, standing.device.as_ref(), &says, now);
    if let Some(record) = &contact.write {
        function
            .records
            .write_contact(record, standing.device.as_ref())
            .await?;
    }
    let (standing, instruction) = instructed(function, &device, standing, now).await?;
    let ask_inventory = contact.ask_inventory || instruction.ask_inventory;
    let deployment = match instruction.mode {
        Mode::Work => {
            let told = tell(function, &device, standing, now).await?;
            let packs = told.tasks.iter().filter_map(pack).collect();
            let deployment = Deployment::On(packs);
            return Ok(prolog_reply(
                &told.pace,
                &told.tasks,
                ask_inventory,
                deployment,
            ));
        }
        Mode::Stop => Deployment::Off,
        Mode::Drop => Deployment::Drop,
    };
    let reconciled = reconciled(function, &device, standing, now).await?;
    let pace = reconciled.pace(function.settings.pace);
    Ok(prolog_reply(&pace, &[], ask_inventory, deployment))
}

/// Decides what the reply says because of orders, and notes down that it does.
async fn instructed(
    function: &CheckIn,
    device: &DeviceId,
    mut standing: Standing,
    now: UnixTime,
) -> Result<(Standing, Instruction), RecordsError> {
    if !standing.orders.is_empty() {
        // What no group wants any more is withdrawn before it is dropped.
        standing = reconciled(function, device, standing, now).await?.standing;
    }
    let instruction = instruct(&standing.orders, &standing.tasks, now);
    for note in &instruction.notes {
        function.records.note_order(device, note).await?;
        tracing::info!(%device, ?note, "an order for the device is carried out");
    }
    Ok((standing, instruction))
}

fn prolog_reply(
    pace: &Pace,
    told: &[Telling],
    ask_inventory: bool,
    deployment: Deployment,
) -> PrologReply {
    let announced: Vec<Announced> = told
        .iter()
        .map(|telling| (telling.task.priority, telling.published.fragments))
        .collect();
    PrologReply {
        prolog_freq_hours: pace.prolog_freq_hours(),
        response: if ask_inventory {
            InventoryAsk::Send
        } else {
            InventoryAsk::Stop
        },
        conf: pace.conf(&announced),
        deployment,
    }
}

/// Describes one package to a stock agent: one location, the first; none is left without one.
fn pack(telling: &Telling) -> Option<Pack> {
    let at = telling.locations.first()?;
    Some(Pack {
        id: telling.package.id,
        info_loc: info_location(at, &telling.package.folder),
        pack_loc: pack_location(&at.location, &telling.package.folder),
        force: telling.task.force,
        schedule: telling.package.windows.schedule,
        afterwards: telling.package.windows.afterwards,
    })
}

async fn download(
    function: &CheckIn,
    id: OcsDeviceId,
    package: Option<PackageId>,
    code: ResultCode,
    now: UnixTime,
) -> Result<(), RecordsError> {
    let device = DeviceId::Ocs(id);
    let Some(package) = package else {
        tracing::info!(%device, %code, "report of an unknown package");
        return Ok(());
    };
    let reported = result::Reported {
        package,
        by: ReportedBy::Ocs,
        code,
        detail: None,
        output_tail: None,
        finished_at: now,
    };
    for _ in 0..result::TRIES {
        let standing = function.records.standing(&device).await?;
        let mut tasks = standing.tasks.iter();
        let open = tasks.find(|task| task.package == package);
        let back = open.and_then(|task| put_back(&standing.orders, task, &reported.code));
        let Some(back) = back else {
            return result::record(function, &device, standing.tasks, &reported, now).await;
        };
        if function.records.put_back(&device, &back).await? == Recorded::Written {
            tracing::info!(%device, %package, "dropped by order, and held again");
            return Ok(());
        }
    }
    Err(function.records.conflict())
}

/// Takes an inventory, and returns the reply to it.
async fn inventory_received(
    function: &CheckIn,
    id: OcsDeviceId,
    inventory: &Inventory,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<&'static [u8], RecordsError> {
    let host_name = id.host_name().to_owned();
    let device = DeviceId::Ocs(id);
    let standing = function.records.standing(&device).await?;
    let says = Introduction {
        host_name: Some(inventory.host_name.as_deref().unwrap_or(&host_name)),
        agent,
        os: inventory.os_name.as_deref(),
    };
    let contact = contact(&device, standing.device.as_ref(), &says, now);
    if let Some(mut record) = contact.write.or_else(|| standing.device.clone()) {
        record.inventory_received = Some(now);
        function
            .records
            .write_contact(&record, standing.device.as_ref())
            .await?;
    }
    function
        .records
        .write_history(&device, &inventory.history, now)
        .await?;
    finish_what_is_installed(function, &device, &standing.tasks, &inventory.history, now).await?;
    let stopped = standing
        .orders
        .unstick
        .filter(|order| order.told_at.is_some());
    Ok(match stopped {
        Some(order) => {
            function
                .records
                .note_order(&device, &Note::Done(order))
                .await?;
            INVENTORY_REFUSAL
        }
        None => INVENTORY_REPLY.as_bytes(),
    })
}

/// Ends the tasks whose packages the device has, as they must not be announced beside a new
/// one (protocol reference §0 rule 13).
async fn finish_what_is_installed(
    function: &CheckIn,
    device: &DeviceId,
    tasks: &[OpenTask],
    history: &[PackageId],
    now: UnixTime,
) -> Result<(), RecordsError> {
    let mut tasks = tasks.to_vec();
    for _ in 0..result::TRIES {
        let mut is_settled = true;
        for task in tasks.iter().filter(|task| is_installed(task, history)) {
            let found = found_installed(task, now);
            let recorded = function.records.record_result(device, task, &found).await?;
            is_settled &= recorded == Recorded::Written;
        }
        if is_settled {
            return Ok(());
        }
        tasks = function.records.standing(device).await?.tasks;
    }
    Err(function.records.conflict())
}

fn is_installed(task: &OpenTask, history: &[PackageId]) -> bool {
    !task.force && history.contains(&task.package)
}

fn found_installed(task: &OpenTask, now: UnixTime) -> FinishedTask {
    FinishedTask {
        package: task.package,
        attempt: task.attempt,
        code: NamedCode::AlreadyInHistory.into(),
        outcome: Outcome::Succeeded,
        detail: None,
        output_tail: None,
        finished_at: now,
    }
}
