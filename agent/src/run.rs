//! One round of the agent: check in, deploy in strict order of priority, report.

mod check_in;
mod copied_identity;
mod daily_facts;
pub(crate) mod damage;
mod followed_state;
mod interim_check_in;
mod lingering;
mod plan;
mod recover;
mod settings;
mod unaccepted;
mod update;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Instant;

use futures_util::future::{Either, select};
use packcast_https::{ClientSettings, TlsError};
use packcast_protocol::api::{Cancel, Report, Task};
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{DeviceId, Location, PackageId, Priority, with_causes};
use tokio_util::sync::CancellationToken;

use self::check_in::next_check_in_s;
use self::copied_identity::CopiedIdentity;
use self::interim_check_in::InterimCheckIns;
use self::plan::{WorkItem, plan};
pub(crate) use self::settings::Connections;
use crate::client::{ApiClient, ClientError};
use crate::clock::now;
use crate::config::{Config, ConfigError};
use crate::deployment::{Deployment, DeploymentState, LaterQuestions, Removals, StepEvent};
use crate::event::{Event, Observer};
use crate::fetch::PackageSource;
use crate::fetch::download::Downloads;
use crate::platform::{Containment, MachineIds};
use crate::retry;
use crate::state::history::{History, acted_under};
use crate::state::identity::{self, IdentityError};
use crate::state::journal::{Finished, Journal, StoredJournal};
use crate::state::waiting::WaitList;
use crate::state::{Lock, StateDir, StateError};
use crate::target_state::TargetStateError;
use crate::target_state::followed_state::FollowedState;
use crate::target_state::permits::WaitReason;
use crate::update::Updates;

/// The pause until the next check-in after a failed one, in seconds.
const AFTER_FAILURE_S: u32 = 300;

/// The pause until the next check-in of a blocked or removed device, in seconds.
const WHILE_EXCLUDED_S: u32 = 3_600;

/// The `User-Agent` of requests.
const USER_AGENT: &str = concat!("packcast-agent/", env!("CARGO_PKG_VERSION"));

/// Errors that end a round, or a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    TargetState(#[from] TargetStateError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "this device is not enrolled: write the target's enrolment token to a file, and set enrolment_token_file in the configuration"
    )]
    NotEnrolled,
    #[error(
        "the identity of {device} was created on another machine: give this machine an enrolment token in enrolment_token_file, so that it enrols as a new device"
    )]
    OtherMachine { device: DeviceId },
    #[error("cannot start the agent's runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot run as an updated version: start the installed packcast-agent instead")]
    Starter(#[source] std::io::Error),
}

impl RunError {
    /// Returns `true` if an administrator has blocked or removed the device.
    const fn is_excluded(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_excluded())
    }

    /// Returns the exit code of a command that ends with this error.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NotEnrolled | Self::OtherMachine { .. } => 2,
            Self::Client(error) if error.is_temporary() => 75,
            _ => 1,
        }
    }

    /// Returns the pause until the next check-in, in seconds.
    pub(crate) const fn pause_s(&self) -> u32 {
        if self.is_excluded() {
            WHILE_EXCLUDED_S
        } else {
            AFTER_FAILURE_S
        }
    }
}

/// The agent, ready to check in. It locks its state folder until it is dropped.
pub(crate) struct Agent {
    config: Config,
    state: StateDir,
    _lock: Lock,
    history: RefCell<History>,
    containment: Containment,
    removals: Removals,
    updates: Updates,
    machine: MachineIds,
    /// The identity of another machine, until this machine has enrolled as a new device.
    copied: RefCell<Option<CopiedIdentity>>,
    client_settings: ClientSettings,
    downloads: Downloads,
    api: ApiClient,
    followed: RefCell<FollowedState>,
    /// The packages with which the agent does not begin, as they are on disk.
    waiting: RefCell<WaitList>,
    /// The questions for which the function has named a later time.
    later: RefCell<LaterQuestions>,
    /// The number of rounds in a row in which the function did not answer the question.
    unanswered: Cell<u32>,
    /// The function has refused a check-in with daily facts. This process states no facts any more.
    facts_refused: Cell<bool>,
    observer: Observer,
    stop: CancellationToken,
}

impl Agent {
    pub(crate) fn open(
        config: Config,
        observer: Observer,
        stop: CancellationToken,
    ) -> Result<Self, RunError> {
        let state = StateDir::open(&config.state_dir)?;
        // The lock comes first: two agents must not create two identities, or remove each other's
        // files.
        let lock = state.lock()?;
        damage::report(&observer, identity::move_damaged_aside(&state)?);
        let machine = MachineIds::here();
        let stored = identity::load_or_create(&state, &machine)?;
        let copied = CopiedIdentity::of(&stored, &machine, &state)?;
        let identity = copied.as_ref().map_or(&stored, |copied| &copied.own);
        let key = identity.key(&state)?;
        state.remove_temporary()?;
        state.remove_leftovers();
        let containment = Containment::find(&config.state_dir);
        containment.remove_empty();
        let (history, damaged) = History::open(&state, now())?;
        damage::report(&observer, damaged);
        let Connections { settings, clients } = Connections::new(&config)?;
        let acted = acted_under(&state, &history);
        let opened = FollowedState::open(&state, &config.trust, key.id(), acted)?;
        let followed = followed_state::opened(&observer, opened);
        // After the report, so that no kill loses it.
        followed.store_target(&state)?;
        let (waiting, damaged) = WaitList::open(&state)?;
        damage::report(&observer, damaged);
        let api = ApiClient::new(clients.api, config.server.clone(), key);
        let downloads = Downloads::new(clients.objects, config.max_download_rate);
        let updates = Updates::of(&state);
        Ok(Self {
            config,
            state,
            _lock: lock,
            history: RefCell::new(history),
            containment,
            removals: Removals::default(),
            updates,
            machine,
            copied: RefCell::new(copied),
            client_settings: settings,
            downloads,
            api,
            followed: RefCell::new(followed),
            waiting: RefCell::new(waiting),
            later: RefCell::default(),
            unanswered: Cell::new(0),
            facts_refused: Cell::new(false),
            observer,
            stop,
        })
    }

    /// Runs one round, and returns the seconds until the next one.
    pub(crate) async fn round(&self) -> Result<u32, RunError> {
        self.recover().await;
        let Some(reply) = self
            .stop
            .run_until_cancelled(self.check_in())
            .await
            .transpose()?
        else {
            return Ok(0);
        };
        let next = next_check_in_s(&reply);
        (self.observer)(Event::CheckedIn {
            tasks: reply.tasks.len(),
            next_check_in_s: next,
        });
        // The second check-in confirms a version whose first round has failed after its check-in.
        self.confirm_update().await;
        self.note_check_in();
        // Cancellations and tasks of packages on this device need no further room, so the plan has
        // to know them.
        let kept = self.state.packages()?.into_iter().collect();
        let work = plan(reply.tasks, &reply.cancel, &kept);
        self.work(work, &InterimCheckIns::due_in(next)).await?;
        self.confirm_update().await;
        Ok(match self.unanswered.get() {
            0 => next,
            rounds => next.min(retry::round_pause_s(rounds)),
        })
    }

    /// Checks in once. A later round begins the announced packages.
    pub(crate) async fn check_in_only(&self) -> Result<(), RunError> {
        let reply = self.check_in().await?;
        (self.observer)(Event::CheckedIn {
            tasks: reply.tasks.len(),
            next_check_in_s: next_check_in_s(&reply),
        });
        Ok(())
    }

    /// Moves sent and accepted results to the history.
    ///
    /// A result that cannot be moved is sent again with the next check-in.
    async fn settle(&self, sent: &[Report], accepted: &[PackageId]) {
        for Report { id, attempt, .. } in sent {
            if accepted.contains(id) {
                let accepted = StepEvent::ReportAccepted { attempt: *attempt };
                self.report(*id, accepted).await;
            }
        }
    }

    /// Sends an event to a package with a result on disk. On an error, the result stays there.
    async fn report(&self, id: PackageId, event: StepEvent) {
        if let Err(error) = self.happened(id, event).await {
            let error = with_causes(&error);
            tracing::error!(package = %id, error, "cannot complete the report: the result is kept, and will be sent again");
        }
    }

    /// Carries out the planned items in order.
    ///
    /// A package with unavailable locations blocks the packages of lower priority. A package that
    /// waits for another signed state, or for the permission of the function, blocks nothing. A package
    /// with a removal that hangs blocks nothing either, and is the error at the end. A device that was
    /// blocked or removed begins no further package.
    async fn work(&self, work: Vec<WorkItem>, meanwhile: &InterimCheckIns) -> Result<(), RunError> {
        let mut waiting: Option<Priority> = None;
        let mut is_first = true;
        let mut not_begun = BTreeSet::new();
        let mut is_unanswered = false;
        let mut hung = None;
        for work in work {
            if meanwhile.is_due() {
                self.stop
                    .run_until_cancelled(self.check_in_again(meanwhile))
                    .await;
            }
            if self.stop.is_cancelled() || self.api.is_excluded() {
                return Ok(());
            }
            // Cancellations come first in the plan, and begin nothing.
            if is_first && matches!(work, WorkItem::Deploy(_)) {
                is_first = false;
                if !self.outlast_programs(meanwhile).await? {
                    return Ok(());
                }
            }
            if let WorkItem::Deploy(task) = &work
                && self.is_on_trial(task)
            {
                // The end of the trial is the result.
                self.waits_no_longer(task.id);
                continue;
            }
            if let WorkItem::Deploy(task) = &work
                && let Some(reason) = self.asks_later(task, meanwhile)
            {
                not_begun.insert(task.id);
                self.waits(cancel_of(task), reason);
                continue;
            }
            let (cancel, blocked, carried_out) = match work {
                WorkItem::Cancel(cancel) => (cancel, false, self.cancel(cancel).await),
                WorkItem::Deploy(task) => {
                    let blocked = waiting.is_some_and(|first| task.priority > first);
                    let state = self.deploy(&task, blocked, meanwhile).await;
                    if self.updates.has_staged() {
                        return state.map(drop).map_err(RunError::from);
                    }
                    // Only a waiting package blocks others. A failed one has a result, and the next
                    // may begin.
                    if let Ok(DeploymentState::Waiting { reason, .. }) = &state {
                        waiting = Some(task.priority);
                        let (id, detail) = (task.id, reason.clone());
                        (self.observer)(Event::Deferred { id, detail });
                    }
                    (cancel_of(&task), blocked, state)
                }
            };
            let state = match carried_out {
                Ok(state) => state,
                Err(error @ StateError::Removing { .. }) => {
                    let package = cancel.id;
                    tracing::error!(%package, error = with_causes(&error), "cannot continue with the package");
                    hung.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(finished) = finished(&state, cancel.attempt) {
                self.waits_no_longer(cancel.id);
                (self.observer)(event(finished));
                self.report(cancel.id, StepEvent::ReportDue).await;
            } else if let Some(reason) = wait_reason(state, blocked) {
                is_unanswered |= reason.reason == WaitWord::Unanswered;
                not_begun.insert(cancel.id);
                self.waits(cancel, reason);
            } else {
                self.waits_no_longer(cancel.id);
            }
        }
        self.only_these_wait(&not_begun);
        self.later.borrow_mut().retain(&not_begun);
        let rounds = self.unanswered.get().saturating_add(1);
        self.unanswered.set(if is_unanswered { rounds } else { 0 });
        hung.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns the reason for which the agent does not ask about a task again yet. `None` if the agent
    /// deploys the task now.
    fn asks_later(&self, task: &Task, meanwhile: &InterimCheckIns) -> Option<WaitReason> {
        let attempt = (task.id, task.attempt);
        let later = self.later.borrow();
        let reason = later.waits(attempt, Instant::now(), now())?;
        (!meanwhile.cancels(task)).then_some(reason)
    }

    async fn cancel(&self, cancel: Cancel) -> Result<DeploymentState, StateError> {
        let now = now();
        let event = StepEvent::Cancelled {
            cancel,
            permits: self.followed.borrow().permits(&[], None, now),
            past: self.history.borrow().past(cancel.id),
            now,
        };
        self.happened(cancel.id, event).await
    }

    /// Deploys a package, unless a package of higher priority blocks it.
    ///
    /// The agent continues to check in meanwhile.
    async fn deploy(
        &self,
        task: &Task,
        blocked: bool,
        meanwhile: &InterimCheckIns,
    ) -> Result<DeploymentState, StateError> {
        if meanwhile.cancels(task) {
            return self.cancel(cancel_of(task)).await;
        }
        // A cancellation stops a download at once, not only between two effects.
        let cancel = CancellationToken::new();
        let now = now();
        let past = self.history.borrow().past(task.id);
        let names = &task.locations;
        let permits = self.followed.borrow().permits(names, None, now);
        let (locations, skipped) = permits.locations(task, &past);
        for location in skipped {
            let id = task.id;
            (self.observer)(Event::LocationSkipped { id, location });
        }
        let announced = StepEvent::Announced {
            task: task.clone(),
            permits,
            past,
            blocked,
            now,
        };
        let deployment = self.deployment(task.id, &locations, &cancel);
        let checking_in = pin!(self.check_in_while_deploying(task, meanwhile, &cancel));
        match select(pin!(deployment.drive(announced)), checking_in).await {
            Either::Left((state, _)) => state,
            // The check-ins continue forever, so only the deployment can end the select.
            Either::Right((never, _)) => match never {},
        }
    }

    /// Sends an event to the machine of a package. No such event needs the package's locations.
    async fn happened(
        &self,
        id: PackageId,
        event: StepEvent,
    ) -> Result<DeploymentState, StateError> {
        // These events have no interruptible effects, so nothing cancels the token.
        let never = CancellationToken::new();
        self.deployment(id, &[], &never).drive(event).await
    }

    fn deployment<'a>(
        &'a self,
        id: PackageId,
        locations: &'a [Location],
        cancel: &'a CancellationToken,
    ) -> Deployment<'a> {
        Deployment {
            id,
            dir: self.state.package(id),
            source: PackageSource::new(&self.downloads, id, locations),
            config: &self.config,
            followed: &self.followed,
            state: &self.state,
            history: &self.history,
            later: &self.later,
            containment: &self.containment,
            removals: &self.removals,
            updates: &self.updates,
            api: &self.api,
            observer: &self.observer,
            stop: &self.stop,
            cancel,
        }
    }
}

/// Returns the result of an attempt that is not reported yet.
fn finished(state: &DeploymentState, attempt: u32) -> Option<&Finished> {
    match state {
        DeploymentState::Resting(Some(StoredJournal::Read(Journal::Finished(finished)))) => {
            Some(finished).filter(|finished| finished.report.attempt == attempt)
        }
        _ => None,
    }
}

/// Returns the reason why the agent has not begun with an announced package, or not gone on.
/// `blocked` packages have a lower priority than a package that waits.
fn wait_reason(state: DeploymentState, blocked: bool) -> Option<WaitReason> {
    match state {
        DeploymentState::AwaitingState { reason, .. } => Some(reason),
        DeploymentState::Waiting { reason, .. } => {
            Some(WaitReason::new(WaitWord::Unreachable, reason))
        }
        _ if blocked => Some(WaitReason::new(
            WaitWord::Behind,
            "a package of higher priority waits for its locations".to_owned(),
        )),
        _ => None,
    }
}

/// Returns the cancellation of a task's attempt.
const fn cancel_of(task: &Task) -> Cancel {
    Cancel {
        id: task.id,
        attempt: task.attempt,
    }
}

fn event(finished: &Finished) -> Event {
    let report = &finished.report;
    Event::Finished {
        id: report.id,
        attempt: report.attempt,
        code: report.code.clone(),
        exit_code: report.code.exit_code(),
        detail: report.detail.as_ref().map(ToString::to_string),
        output_tail: report.output_tail.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use packcast_protocol::AgentId;
    use packcast_protocol::api::ProblemKind;

    use super::*;
    use crate::state::journal;

    /// Returns an agent without a reachable server. Its state is in the folder.
    fn agent(folder: &std::path::Path) -> Agent {
        let config = format!(
            "server = \"https://127.0.0.1:1\"\nstate_dir = {:?}\ntrust = \"a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8\"\n",
            folder.join("state").to_str().unwrap(),
        );
        let config = Config::parse(&config).unwrap();
        Agent::open(config, Arc::new(|_| {}), CancellationToken::new()).unwrap()
    }

    #[tokio::test]
    async fn a_hung_removal_holds_up_no_other_package() {
        let dir = tempfile::tempdir().unwrap();
        let agent = agent(&dir.path().canonicalize().unwrap());
        let [hung, other] = [1, 2].map(|n| PackageId::try_from(1_795_000_000 + n).unwrap());
        let (gate, waiting) = mpsc::channel::<()>();
        let folder = agent.state.package(hung);
        let hangs = agent
            .removals
            .run_within(Duration::ZERO, hung, &folder, move |_| {
                let _ = waiting.recv();
            });
        assert!(hangs.await.is_err());
        let cancel = |id| WorkItem::Cancel(Cancel { id, attempt: 1 });
        let work = vec![cancel(hung), cancel(other)];
        let worked = agent.work(work, &InterimCheckIns::due_in(3_600)).await;
        drop(gate);
        assert!(
            matches!(worked, Err(RunError::State(StateError::Removing { .. }))),
            "{worked:?}"
        );
        let found = journal::read(&agent.state.package(other)).unwrap();
        let Some(StoredJournal::Read(Journal::Finished(finished))) = found else {
            panic!("the other package has no result: {found:?}");
        };
        assert_eq!(finished.report.attempt, 1);
    }

    #[test]
    fn messages_name_the_remedy() {
        let excluded = |kind| {
            RunError::Client(ClientError::Refused {
                url: "https://ocs.example/v1/check-in".to_owned(),
                status: 403,
                kind,
                detail: "this device is blocked".to_owned(),
            })
        };
        for kind in [ProblemKind::Blocked, ProblemKind::Removed] {
            assert_eq!(excluded(kind).pause_s(), 3_600);
        }
        assert_eq!(excluded(ProblemKind::NotEnrolled).pause_s(), 300);
        let errors = [
            RunError::NotEnrolled,
            RunError::OtherMachine {
                device: DeviceId::Agent(AgentId::of_public_key(&[1; 32])),
            },
            RunError::Runtime(std::io::Error::other("no threads")),
            RunError::Starter(std::io::Error::other("the starter has ended")),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        this device is not enrolled: write the target's enrolment token to a file, and set enrolment_token_file in the configuration
        the identity of key:olgw5bbcyqd7w3ijq2ipceylpu was created on another machine: give this machine an enrolment token in enrolment_token_file, so that it enrols as a new device
        cannot start the agent's runtime
        cannot run as an updated version: start the installed packcast-agent instead
        ");
    }
}
