//! One round: check in, do what is to be done in strict order, report.

mod heard;
mod meanwhile;
mod plan;
mod unaccepted;

use std::cell::RefCell;
use std::pin::pin;

use futures_util::future::{Either, select};
use packcast_https::{Clients, TlsError};
use packcast_protocol::api::{Cancel, CheckInReply, CheckInRequest, Facts, Report, Task, Text};
use packcast_protocol::{Location, PackageId, Priority};

use self::meanwhile::Meanwhile;
use self::plan::{Work, plan};
use crate::client::{ApiClient, ClientError};
use crate::config::{Config, ConfigError};
use crate::deployment::{self as machine, Deployment, State};
use crate::event::{Event, Observer};
use crate::failure::with_causes;
use crate::fetch::Source;
use crate::fetch::download::Downloads;
use crate::state::history::History;
use crate::state::identity::{self, IdentityError};
use crate::state::journal::{self, Finished, Found, Journal};
use crate::state::{Lock, StateDir, StateError, now};
use crate::stop::Stop;
use crate::trust::Trust;

/// How long to wait for the next check-in when the last one failed, in seconds.
pub(crate) const AFTER_FAILURE_S: u32 = 300;

/// What the agent calls itself in its requests.
const USER_AGENT: &str = concat!("packcast-agent/", env!("CARGO_PKG_VERSION"));

/// The shortest and longest time between two check-ins, in seconds, whatever the reply says.
const CHECK_IN_RANGE_S: std::ops::RangeInclusive<u32> = 1..=7 * 24 * 3600;

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
    stop: Stop,
}

impl Agent {
    pub(crate) fn open(config: Config, observer: Observer, stop: Stop) -> Result<Self, RunError> {
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
        let Some(reply) = self.stop.unless(self.check_in()).await.transpose()? else {
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

    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Brings every package to rest that an agent that stopped in the middle has left. What is
    /// wrong with one is no reason not to check in.
    async fn recover(&self) {
        let packages = self.state.packages().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::error!(error, "what is under way is not known");
            Vec::new()
        });
        for id in packages {
            if let Err(error) = self.recover_package(id).await {
                let error = with_causes(&error);
                tracing::error!(package = %id, error, "the package is not at rest");
            }
        }
    }

    async fn recover_package(&self, id: PackageId) -> Result<(), StateError> {
        match journal::read(&self.state.package(id))? {
            None => self.state.package(id).remove_unused()?,
            Some(Found::Unreadable { path }) => {
                tracing::error!(package = %id, path = %path.display(), "the journal does not read: the package will not be acted on again");
            }
            Some(Found::Read(journal)) => {
                if matches!(journal, Journal::Acting(_)) {
                    tracing::warn!(package = %id, "the last run stopped while it acted on the package");
                }
                self.happened(id, machine::Event::Restarted { id, now: now() })
                    .await?;
            }
        }
        Ok(())
    }

    fn unaccepted(&self) -> Vec<Report> {
        let journals = journal::read_all(&self.state).into_values();
        let reports = journals.filter_map(|found| match found {
            Found::Read(Journal::Finished(finished)) => Some(finished.report),
            _ => None,
        });
        unaccepted::batch(reports)
    }

    /// Checks in with the results that wait; with less of them for a server that wants less.
    async fn check_in(&self) -> Result<CheckInReply, RunError> {
        let results = self.unaccepted();
        let reply = match self.check_in_with(&results).await {
            Err(RunError::Client(error)) if error.is_too_large() && !results.is_empty() => {
                tracing::warn!(%error, "the check-in goes without the programs' output");
                self.check_in_with(&unaccepted::without_output(results.clone()))
                    .await?
            }
            reply => reply?,
        };
        self.settle(&results, &reply.accepted).await;
        Ok(reply)
    }

    /// Checks in with the pass or, where there is none that counts, with the token.
    async fn check_in_with(&self, results: &[Report]) -> Result<CheckInReply, RunError> {
        let holds = self.trust.borrow().holds();
        let request = |enrolment, pass| CheckInRequest {
            enrolment,
            pass,
            facts: facts(),
            results: results.to_vec(),
            holds: holds.clone(),
        };
        let pass = identity::load_pass(&self.state)?;
        let known = pass.is_some();
        let mut token = None;
        if !known {
            token = Some(
                self.config
                    .enrolment_token()?
                    .ok_or(RunError::NotEnrolled)?,
            );
        }
        let mut reply = self.api.check_in(&request(token, pass)).await;
        if known && reply.as_ref().is_err_and(ClientError::is_not_enrolled) {
            let Some(token) = self.config.enrolment_token()? else {
                return Err(RunError::NotEnrolled);
            };
            reply = self.api.check_in(&request(Some(token), None)).await;
        }
        let mut reply = reply?;
        if let Some(pass) = &reply.pass {
            // Without it, the next check-in shows the token again.
            if let Err(error) = identity::store_pass(&self.state, pass) {
                tracing::error!(error = with_causes(&error), "the pass cannot be kept");
            }
        }
        self.hear(&mut reply);
        Ok(reply)
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
            if self.stop.is_set() {
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
            self.stop.unless(self.check_in_again(meanwhile)).await;
        }
        if meanwhile.calls_off(task) {
            return self.call_off(called_off(task)).await;
        }
        let (ask, call_off) = Stop::new();
        let told = machine::Event::Told {
            task: task.clone(),
            mandates: self.trust.borrow().authority().mandates(task.id, now()),
            past: self.history.borrow().past(task.id),
            held,
            now: now(),
        };
        let deployment = self.deployment(task.id, &task.locations, &call_off);
        let checking_in = pin!(self.check_in_while_deploying(task, meanwhile, &ask));
        match select(pin!(deployment.drive(told)), checking_in).await {
            Either::Left((state, _)) => state,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Tells the machine of a package what happened, none of which needs its locations.
    async fn happened(&self, id: PackageId, event: machine::Event) -> Result<State, StateError> {
        let (_nobody_asks, call_off) = Stop::new();
        self.deployment(id, &[], &call_off).drive(event).await
    }

    fn deployment<'a>(
        &'a self,
        id: PackageId,
        locations: &'a [Location],
        call_off: &'a Stop,
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

fn next_check_in_s(reply: &CheckInReply) -> u32 {
    let (shortest, longest) = CHECK_IN_RANGE_S.into_inner();
    reply.next_check_in_s.clamp(shortest, longest)
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

fn facts() -> Facts {
    Facts {
        host_name: Text::tail(&crate::platform::host_name()),
        os: Text::tail(std::env::consts::OS),
        arch: Text::tail(std::env::consts::ARCH),
        agent: Text::tail(concat!("packcast-agent ", env!("CARGO_PKG_VERSION"))),
    }
}
