//! One round: check in, do what is to be done in strict order, report.

mod meanwhile;

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::{Either, select};
use packcast_protocol::api::{
    Cancel, CheckInReply, CheckInRequest, Facts, Report, Secret, Task, Text,
};
use packcast_protocol::{PackageId, Priority};

use self::meanwhile::Meanwhile;
use crate::cancel;
use crate::client::{ApiClient, ClientError};
use crate::config::{Config, ConfigError};
use crate::deploy::{Deployer, Ended};
use crate::event::{Event, Observer};
use crate::failure::with_causes;
use crate::history::{self, History};
use crate::identity::{self, IdentityError};
use crate::journal::{self, Finished, Found, Journal};
use crate::plan::{Work, plan};
use crate::state::{Lock, StateDir, StateError, now};
use crate::stop::Stop;
use crate::tls::{Clients, TlsError};
use crate::unaccepted;

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
    clients: Clients,
    api: ApiClient,
    observer: Observer,
    stop: Stop,
}

impl Agent {
    pub(crate) fn open(config: Config, observer: Observer, stop: Stop) -> Result<Self, RunError> {
        let state = StateDir::open(&config.state_dir)?;
        let lock = state.lock()?;
        let key = identity::load_or_create(&state)?;
        let clients = Clients::new(config.ca_file.as_deref(), USER_AGENT, config.server.route())?;
        let api = ApiClient::new(clients.api.clone(), config.server.clone(), key);
        Ok(Self {
            config,
            state,
            _lock: lock,
            clients,
            api,
            observer,
            stop,
        })
    }

    /// Does one round and returns after how many seconds the next is due.
    pub(crate) async fn round(&self) -> Result<u32, RunError> {
        self.recover()?;
        let Some(reply) = self.stop.unless(self.check_in()).await.transpose()? else {
            return Ok(0);
        };
        let next = next_check_in_s(&reply);
        (self.observer)(Event::CheckedIn {
            tasks: reply.tasks.len(),
            next_check_in_s: next,
        });
        self.settle(&reply.accepted)?;
        let history = History::load(&self.state.history())?;
        let journals = self.journals()?;
        let work = plan(reply.tasks, &reply.cancel, &history, &journals, now());
        self.work(work, &Meanwhile::due_in(next)).await?;
        Ok(next)
    }

    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Draws the conclusion from what an agent that stopped in the middle has left.
    fn recover(&self) -> Result<(), RunError> {
        for (id, found) in self.journals()? {
            match found {
                Found::Read(Journal::Fetching(_)) => self.state.package(id).remove_parts()?,
                Found::Read(journal) => {
                    let recovered = journal.clone().recovered(id, now());
                    if recovered != journal {
                        tracing::warn!(package = %id, "the last run stopped while it acted on the package");
                        journal::write(&self.state.package(id), &recovered)?;
                    }
                }
                Found::Unreadable { path } => {
                    tracing::error!(package = %id, path = %path.display(), "the journal does not read: the package will not be acted on again");
                }
            }
        }
        Ok(())
    }

    fn journals(&self) -> Result<BTreeMap<PackageId, Found>, StateError> {
        let mut journals = BTreeMap::new();
        for id in self.state.packages()? {
            if let Some(found) = journal::read(&self.state.package(id))? {
                journals.insert(id, found);
            }
        }
        Ok(journals)
    }

    fn unaccepted(&self) -> Result<Vec<Report>, StateError> {
        let journals = self.journals()?.into_values();
        let reports = journals.filter_map(|found| match found {
            Found::Read(Journal::Finished(finished)) => Some(finished.report),
            _ => None,
        });
        Ok(unaccepted::batch(reports))
    }

    /// Checks in with the results that wait; with less of them for a server that wants less.
    async fn check_in(&self) -> Result<CheckInReply, RunError> {
        let results = self.unaccepted()?;
        match self.check_in_with(&results).await {
            Err(RunError::Client(error)) if error.is_too_large() && !results.is_empty() => {
                tracing::warn!(%error, "the check-in goes without the programs' output");
                self.check_in_with(&unaccepted::without_output(results))
                    .await
            }
            reply => reply,
        }
    }

    /// Checks in with the pass or, where there is none that counts, with the token.
    async fn check_in_with(&self, results: &[Report]) -> Result<CheckInReply, RunError> {
        let request = |enrolment, pass| CheckInRequest {
            enrolment,
            pass,
            facts: facts(),
            results: results.to_vec(),
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
        let reply = reply?;
        if let Some(pass) = &reply.pass {
            identity::store_pass(&self.state, pass)?;
        }
        Ok(reply)
    }

    /// Moves accepted results into the history.
    fn settle(&self, accepted: &[PackageId]) -> Result<(), StateError> {
        for id in accepted {
            let dir = self.state.package(*id);
            if let Some(Found::Read(Journal::Finished(finished))) = journal::read(&dir)? {
                self.remember(&finished)?;
                dir.remove()?;
            }
        }
        Ok(())
    }

    /// Works in order. A package that has to wait keeps those of lower priority waiting.
    async fn work(&self, work: Vec<Work>, meanwhile: &Meanwhile) -> Result<(), RunError> {
        let mut waiting: Option<Priority> = None;
        for work in work {
            if self.stop.is_set() {
                return Ok(());
            }
            let finished = match work {
                Work::Conclude(finished) => self.conclude(finished)?,
                Work::Deploy(task) if waiting.is_some_and(|first| task.priority > first) => {
                    continue;
                }
                Work::Deploy(task) => match self.deploy(&task, meanwhile).await? {
                    Ended::Finished(finished) => finished,
                    Ended::CalledOff => match self.call_off(&task)? {
                        Some(finished) => self.conclude(finished)?,
                        None => continue,
                    },
                    Ended::Deferred(detail) => {
                        waiting = Some(task.priority);
                        (self.observer)(Event::Deferred {
                            id: task.id,
                            detail,
                        });
                        continue;
                    }
                    Ended::Stopped => return Ok(()),
                },
            };
            (self.observer)(event(&finished));
            self.report(finished).await?;
        }
        Ok(())
    }

    /// Returns the result of an attempt that was called off while it was on its way.
    fn call_off(&self, task: &Task) -> Result<Option<Finished>, StateError> {
        let Task { id, attempt, .. } = *task;
        let found = journal::read(&self.state.package(id))?;
        let history = History::load(&self.state.history())?;
        let called_off = Cancel { id, attempt };
        Ok(cancel::cancel(called_off, &history, found.as_ref(), now()))
    }

    /// Keeps a result that was reached without acting as if it had been.
    fn conclude(&self, finished: Finished) -> Result<Finished, StateError> {
        let Report { id, attempt, .. } = finished.report;
        self.retire(id, attempt)?;
        let dir = self.state.package(id);
        dir.create()?;
        journal::finish(&dir, &finished)?;
        Ok(finished)
    }

    /// Moves the result of another attempt into the history, before this one takes its place:
    /// who tells of this one does not wait for the other any more.
    fn retire(&self, id: PackageId, attempt: u32) -> Result<(), StateError> {
        match journal::read(&self.state.package(id))? {
            Some(Found::Read(Journal::Finished(other))) if other.report.attempt != attempt => {
                self.remember(&other)
            }
            _ => Ok(()),
        }
    }

    /// Adds a result to the history, once.
    fn remember(&self, finished: &Finished) -> Result<(), StateError> {
        let path = self.state.history();
        let Report { id, attempt, .. } = finished.report;
        if History::load(&path)?.attempt(id, attempt).is_none() {
            history::append(&path, finished)?;
        }
        Ok(())
    }

    /// Deploys a package, and goes on checking in when that is due.
    async fn deploy(&self, task: &Task, meanwhile: &Meanwhile) -> Result<Ended, StateError> {
        if meanwhile.is_due() {
            self.stop.unless(self.check_in_again(meanwhile)).await;
        }
        if meanwhile.calls_off(task) {
            return Ok(Ended::CalledOff);
        }
        self.retire(task.id, task.attempt)?;
        let (ask, call_off) = Stop::new();
        let deployer = Deployer {
            config: &self.config,
            state: &self.state,
            http: &self.clients.objects,
            agent: self.api.agent(),
            history: &self.finished()?,
            observer: &self.observer,
            stop: &self.stop,
            call_off: &call_off,
        };
        let checking_in = pin!(self.check_in_while_deploying(task, meanwhile, &ask));
        match select(pin!(deployer.deploy(task)), checking_in).await {
            Either::Left((ended, _)) => ended,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Returns all that has finished, whether its result was accepted or not.
    fn finished(&self) -> Result<History, StateError> {
        let mut history = History::load(&self.state.history())?;
        for found in self.journals()?.into_values() {
            if let Found::Read(Journal::Finished(finished)) = found {
                history.insert(finished);
            }
        }
        Ok(history)
    }

    /// Reports a result; one that is not accepted now goes with the next check-in.
    async fn report(&self, finished: Finished) -> Result<(), RunError> {
        let id = finished.report.id;
        let accepted = match identity::load_pass(&self.state)? {
            Some(pass) => self.send(pass, finished.report).await,
            None => Vec::new(),
        };
        self.settle(&accepted)?;
        (self.observer)(Event::Reported {
            id,
            accepted: accepted.contains(&id),
        });
        Ok(())
    }

    async fn send(&self, pass: Secret, report: Report) -> Vec<PackageId> {
        match self.stop.unless(self.api.report(pass, vec![report])).await {
            Some(Ok(reply)) => reply.accepted,
            Some(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "a result was not accepted");
                Vec::new()
            }
            None => Vec::new(),
        }
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
