//! One round: check in, do what is to be done in strict order, report.

mod check_in;
mod heard;
mod meanwhile;
mod plan;
mod recover;
mod unaccepted;

use std::cell::RefCell;
use std::pin::pin;

use futures_util::future::{Either, select};
use packcast_https::{Clients, TlsError};
use packcast_protocol::api::{Cancel, Report, Task};
use packcast_protocol::{Location, PackageId, Priority, with_causes};
use tokio_util::sync::CancellationToken;

use self::check_in::next_check_in_s;
use self::meanwhile::Meanwhile;
use self::plan::{Work, plan};
use crate::client::{ApiClient, ClientError};
use crate::clock::now;
use crate::config::{Config, ConfigError};
use crate::deployment::{self as machine, Deployment, State};
use crate::event::{Event, Observer};
use crate::fetch::Source;
use crate::fetch::download::Downloads;
use crate::state::history::History;
use crate::state::identity::{self, IdentityError};
use crate::state::journal::{Finished, Found, Journal};
use crate::state::{Lock, StateDir, StateError};
use crate::trust::Trust;

/// How long to wait for the next check-in when the last one failed, in seconds.
pub(crate) const AFTER_FAILURE_S: u32 = 300;

/// What the agent calls itself in its requests.
const USER_AGENT: &str = concat!("packcast-agent/", env!("CARGO_PKG_VERSION"));

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "this device is not enrolled: put the target's enrolment token into a file and name it as enrolment_token_file in the configuration"
    )]
    NotEnrolled,
    #[error("the agent's runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// The agent, ready to check in. Holds its state folder until it is dropped.
pub(crate) struct Agent {
    config: Config,
    state: StateDir,
    _lock: Lock,
    history: RefCell<History>,
    downloads: Downloads,
    api: ApiClient,
    trust: RefCell<Trust>,
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
        let lock = state.lock()?;
        let key = identity::load_or_create(&state)?;
        state.remove_temporary()?;
        state.remove_left_over();
        let history = RefCell::new(History::load(&state.history())?);
        let clients = Clients::new(config.ca_file.as_deref(), USER_AGENT, config.server.route())?;
        let trust = Trust::load(&state, &config, key.id())?;
        let api = ApiClient::new(clients.api, config.server.clone(), key);
        let downloads = Downloads::new(clients.objects, config.max_download_rate);
        config.warn_of_dangers();
        Ok(Self {
            config,
            state,
            _lock: lock,
            history,
            downloads,
            api,
            trust: RefCell::new(trust),
            observer,
            stop,
        })
    }

    /// Does one round and returns after how many seconds the next is due.
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
        let kept = self.state.packages()?.into_iter().collect();
        let work = plan(reply.tasks, &reply.cancel, &kept);
        self.work(work, &Meanwhile::due_in(next)).await?;
        Ok(next)
    }

    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Moves the results that were sent and accepted into the history. One that cannot be moved
    /// goes with the next check-in again.
    async fn settle(&self, sent: &[Report], accepted: &[PackageId]) {
        for Report { id, attempt, .. } in sent {
            if accepted.contains(id) {
                let accepted = machine::Event::ReportAccepted { attempt: *attempt };
                self.report(*id, accepted).await;
            }
        }
    }

    /// Goes on with a result that is on disk, and stays there if that fails.
    async fn report(&self, id: PackageId, event: machine::Event) {
        if let Err(error) = self.happened(id, event).await {
            let error = with_causes(&error);
            tracing::error!(package = %id, error, "the result is kept, and reported again");
        }
    }

    /// Works in order. A package that has to wait keeps those of lower priority waiting.
    async fn work(&self, work: Vec<Work>, meanwhile: &Meanwhile) -> Result<(), RunError> {
        let mut waiting: Option<Priority> = None;
        for work in work {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let (cancel, state) = match work {
                Work::CallOff(cancel) => (cancel, self.call_off(cancel).await?),
                Work::Deploy(task) => {
                    let held = waiting.is_some_and(|first| task.priority > first);
                    let state = self.deploy(&task, held, meanwhile).await?;
                    if let State::Waiting { reason, .. } = &state {
                        waiting = Some(task.priority);
                        let (id, detail) = (task.id, reason.clone());
                        (self.observer)(Event::Deferred { id, detail });
                    }
                    (called_off(&task), state)
                }
            };
            if let State::Resting(Some(Found::Read(Journal::Finished(finished)))) = state
                && finished.report.attempt == cancel.attempt
            {
                (self.observer)(event(&finished));
                self.report(cancel.id, machine::Event::ReportDue).await;
            }
        }
        Ok(())
    }

    async fn call_off(&self, cancel: Cancel) -> Result<State, StateError> {
        let now = now();
        let event = machine::Event::CalledOff {
            cancel,
            mandates: self.trust.borrow().authority().mandates(cancel.id, now),
            past: self.history.borrow().past(cancel.id),
            now,
        };
        self.happened(cancel.id, event).await
    }

    /// Deploys a package, unless it is `held`, and goes on checking in when that is due.
    async fn deploy(
        &self,
        task: &Task,
        held: bool,
        meanwhile: &Meanwhile,
    ) -> Result<State, StateError> {
        if meanwhile.is_due() {
            self.stop
                .run_until_cancelled(self.check_in_again(meanwhile))
                .await;
        }
        if meanwhile.calls_off(task) {
            return self.call_off(called_off(task)).await;
        }
        let call_off = CancellationToken::new();
        let told = machine::Event::Told {
            task: task.clone(),
            mandates: self.trust.borrow().authority().mandates(task.id, now()),
            past: self.history.borrow().past(task.id),
            held,
            now: now(),
        };
        let deployment = self.deployment(task.id, &task.locations, &call_off);
        let checking_in = pin!(self.check_in_while_deploying(task, meanwhile, &call_off));
        match select(pin!(deployment.drive(told)), checking_in).await {
            Either::Left((state, _)) => state,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Tells the machine of a package what happened, none of which needs its locations.
    async fn happened(&self, id: PackageId, event: machine::Event) -> Result<State, StateError> {
        let never = CancellationToken::new();
        self.deployment(id, &[], &never).drive(event).await
    }

    fn deployment<'a>(
        &'a self,
        id: PackageId,
        locations: &'a [Location],
        call_off: &'a CancellationToken,
    ) -> Deployment<'a> {
        Deployment {
            id,
            dir: self.state.package(id),
            source: Source::new(&self.downloads, id, locations),
            config: &self.config,
            trust: &self.trust,
            state: &self.state,
            history: &self.history,
            api: &self.api,
            observer: &self.observer,
            stop: &self.stop,
            call_off,
        }
    }
}

/// Returns the calling off of a task's attempt.
const fn called_off(task: &Task) -> Cancel {
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
