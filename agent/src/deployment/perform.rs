//! The edge of the machine: does one effect, and tells what came of it.

use std::cell::RefCell;
use std::sync::Arc;

use packcast_archive::Summary;
use packcast_protocol::api::{Report, Secret, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Action, PackageId, UnixTime, with_causes};
use tokio_util::sync::CancellationToken;

use super::halt::Halt;
use super::machine::{Effect, Event, State};
use super::step::step;
use crate::act::{self, Prepared};
use crate::client::ApiClient;
use crate::clock::now;
use crate::config::{Config, SERVER_ASSIGNMENTS};
use crate::event::{self, Observer};
use crate::failure::Failure;
use crate::fetch::Source;
use crate::manifest::{self, Accepted, Judge, Signers};
use crate::stage::{Fetched, Verified, VerifyError};
use crate::state::history::History;
use crate::state::identity;
use crate::state::journal::{self, Acting, Finished, Found, Journal};
use crate::state::{PackageDir, StateDir, StateError};
use crate::trust::Trust;

/// One package of this device, and what its effects need.
pub(crate) struct Deployment<'a> {
    pub(crate) id: PackageId,
    pub(crate) dir: PackageDir,
    /// Where the package is.
    pub(crate) source: Source<'a>,
    pub(crate) config: &'a Config,
    pub(crate) trust: &'a RefCell<Trust>,
    pub(crate) state: &'a StateDir,
    pub(crate) history: &'a RefCell<History>,
    pub(crate) api: &'a ApiClient,
    pub(crate) observer: &'a Observer,
    pub(crate) stop: &'a CancellationToken,
    /// Cancelled if the attempt that is being made is called off.
    pub(crate) call_off: &'a CancellationToken,
}

/// Why an effect was not done.
enum NotDone {
    Halt(Halt),
    State(StateError),
}

impl From<StateError> for NotDone {
    fn from(error: StateError) -> Self {
        Halt::try_from(error).map_or_else(Self::State, Self::Halt)
    }
}

impl<E: Into<Halt>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::Halt(error.into())
    }
}

impl Deployment<'_> {
    /// Takes the machine from what is on disk to its next rest.
    ///
    /// An error of the state folder ends it as if the agent had stopped there.
    pub(crate) async fn drive(&self, event: Event) -> Result<State, StateError> {
        let found = journal::read(&self.dir)?;
        let (mut state, mut effect) = step(State::Resting(found), event);
        while let Some(next) = effect {
            // Of all effects the largest decides how large this future is.
            let event = Box::pin(self.perform_unless_asked(next)).await?;
            (state, effect) = step(state, event);
        }
        Ok(state)
    }

    async fn perform_unless_asked(&self, effect: Effect) -> Result<Event, StateError> {
        if !effect.gives_way() {
            return self.perform(effect).await;
        }
        let performed = self.call_off.run_until_cancelled(self.perform(effect));
        match self.stop.run_until_cancelled(performed).await {
            Some(Some(event)) => event,
            Some(None) => Ok(Event::BrokenOff { now: now() }),
            None => Ok(Event::Stopped),
        }
    }

    async fn perform(&self, effect: Effect) -> Result<Event, StateError> {
        match self.try_perform(effect).await {
            Ok(event) => Ok(event),
            Err(NotDone::Halt(why)) => Ok(Event::Halted { why, now: now() }),
            Err(NotDone::State(error)) => Err(error),
        }
    }

    async fn try_perform(&self, effect: Effect) -> Result<Event, NotDone> {
        match effect {
            Effect::Write(journal) => self.write(&journal),
            Effect::FetchManifest(task) => self.fetch_manifest(&task).await,
            Effect::FetchFragments(manifest) => self.fetch_fragments(&manifest).await,
            Effect::Verify(fetched) => self.verify(fetched).await,
            Effect::Prepare(manifest, verified) => self.prepare(manifest, verified).await,
            Effect::Judge(manifest) => self.judge(&manifest),
            Effect::Act(prepared) => self.act(*prepared).await,
            Effect::Tidy => {
                self.dir.remove_parts();
                Ok(Event::Tidied)
            }
            Effect::FreeContents => {
                self.dir.discard_contents();
                Ok(Event::Freed)
            }
            Effect::Report(report) => self.report(report).await,
            Effect::Remember(finished) => self.remember(&finished),
            Effect::Remove => self
                .dir
                .remove()
                .map(|()| Event::Removed)
                .map_err(NotDone::State),
        }
    }

    /// A disk that is too full has room for a result where some was set aside before the package
    /// was acted on, and where the package's contents were.
    fn write(&self, journal: &Journal) -> Result<Event, NotDone> {
        if let Journal::Acting(Acting { by, .. }) = journal
            && by.is_empty()
            && self.config.trust_server_assignments
        {
            tracing::warn!(package = %self.id, "acted on by the word of the server alone: {SERVER_ASSIGNMENTS} is set");
        }
        match journal {
            Journal::Acting(_) => self.dir.set_room_aside()?,
            Journal::Finished(_) => self.dir.give_back_room().map_err(NotDone::State)?,
            Journal::Fetching(_) => {}
        }
        let write = || journal::write(&self.dir, journal);
        match (journal, write().map_err(NotDone::from)) {
            (Journal::Finished(_), Err(NotDone::Halt(_))) => {
                self.dir.discard_contents();
                write().map_err(NotDone::State)?;
            }
            (_, written) => written?,
        }
        Ok(Event::Written)
    }

    async fn fetch_manifest(&self, task: &Task) -> Result<Event, NotDone> {
        let judge = self.judge_of(now());
        let manifest = manifest::fetch(&self.source, task, &judge).await?;
        self.tell(event::Event::ManifestVerified {
            id: self.id,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
        });
        Ok(Event::Manifest(Arc::new(manifest)))
    }

    /// Nothing is heard between this and the journal's word that the package is acted on: both
    /// are done without waiting.
    fn judge(&self, manifest: &Accepted) -> Result<Event, NotDone> {
        let now = now();
        self.judge_of(now).again(manifest)?;
        Ok(Event::Judged {
            mandates: self.trust.borrow().authority().mandates(self.id, now),
            past: self.history.borrow().past(self.id),
            now,
        })
    }

    fn judge_of(&self, now: UnixTime) -> Judge {
        let trust = self.trust.borrow();
        Judge {
            signers: if self.config.run_unsigned_packages {
                Signers::Anybody
            } else {
                Signers::Trusted(trust.keys().keys().to_vec())
            },
            agent: self.api.agent().clone(),
            groups: trust.authority().groups(now),
            history: self.finished(),
            now,
        }
    }

    /// Returns all that has finished on this device, whether its result was accepted or not.
    fn finished(&self) -> History {
        let mut history = self.history.borrow().clone();
        for found in journal::read_all(self.state).into_values() {
            if let Found::Read(Journal::Finished(finished)) = found {
                history.insert(finished);
            }
        }
        history
    }

    async fn fetch_fragments(&self, manifest: &Accepted) -> Result<Event, NotDone> {
        let of = manifest
            .action
            .archive()
            .map_or(0, |archive| archive.fragment_count().get() as usize);
        let arrived = |number, bytes, already| {
            self.tell(event::Event::fragment(self.id, number, of, bytes, already));
        };
        let folder = self.dir.create_fragments()?;
        let unpacked = match &manifest.action {
            Action::Store { folder, .. } => act::store_folder(folder, &self.state.install_path())?,
            Action::Launch { .. } | Action::Execute { .. } => folder.clone(),
        };
        let parallel = self.config.parallel_downloads;
        let fetched = Fetched::fetch(
            manifest,
            &self.source,
            &folder,
            &unpacked,
            parallel,
            arrived,
        );
        Ok(Event::Fetched(fetched.await?))
    }

    async fn verify(&self, fetched: Fetched) -> Result<Event, NotDone> {
        let verified = match blocking(move || fetched.verify()).await {
            Err(error @ VerifyError::Fragments { .. }) => {
                tracing::warn!(package = %self.id, %error, "fragments went wrong on disk");
                return Err(error.into());
            }
            verified => verified?,
        };
        let (id, bytes) = (self.id, verified.bytes());
        self.tell(event::Event::ArchiveVerified { id, bytes });
        Ok(Event::Verified(verified))
    }

    async fn prepare(
        &self,
        manifest: Arc<Accepted>,
        verified: Option<Verified>,
    ) -> Result<Event, NotDone> {
        let action = with_archive(&manifest.action, verified)?;
        let work = self.dir.fresh_work_folder()?;
        let install_path = self.state.install_path();
        let limits = self.config.limits;
        let prepared =
            blocking(move || act::prepare(&manifest, action, work, &install_path, &limits)).await?;
        if let Prepared::Run(program) = &prepared {
            self.tell_unpacked(program.unpacked);
        }
        Ok(Event::Prepared(Box::new(prepared)))
    }

    async fn act(&self, prepared: Prepared) -> Result<Event, NotDone> {
        self.tell(event::Event::Started { id: self.id });
        let done = match prepared {
            Prepared::Run(program) => program.run().await?,
            Prepared::Store { archive, folder } => {
                let limits = self.config.limits;
                let done = blocking(move || act::store(&archive, &folder, &limits)).await?;
                self.tell_unpacked(done.stored);
                done
            }
        };
        Ok(Event::Done { done, now: now() })
    }

    /// Reports a result; one that is not accepted now goes with the next check-in.
    async fn report(&self, report: Report) -> Result<Event, NotDone> {
        let attempt = report.attempt;
        let pass = identity::load_pass(self.state).map_err(NotDone::State)?;
        let accepted = match pass {
            Some(pass) => self.send(pass, report).await,
            None => false,
        };
        let id = self.id;
        self.tell(event::Event::Reported { id, accepted });
        Ok(if accepted {
            Event::ReportAccepted { attempt }
        } else {
            Event::NotAccepted
        })
    }

    async fn send(&self, pass: Secret, report: Report) -> bool {
        match self
            .stop
            .run_until_cancelled(self.api.report(pass, vec![report]))
            .await
        {
            Some(Ok(reply)) => reply.accepted.contains(&self.id),
            Some(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "a result was not accepted");
                false
            }
            None => false,
        }
    }

    fn remember(&self, finished: &Finished) -> Result<Event, NotDone> {
        let mut history = self.history.borrow_mut();
        let remembered = history.remember(&self.state.history(), finished);
        remembered.map_err(NotDone::State)?;
        Ok(Event::Remembered)
    }

    fn tell(&self, event: event::Event) {
        (self.observer)(event);
    }

    fn tell_unpacked(&self, summary: Option<Summary>) {
        if let Some(Summary { entries, bytes }) = summary {
            let id = self.id;
            self.tell(event::Event::Unpacked { id, entries, bytes });
        }
    }
}

/// Puts the verified archive where the action names its description.
pub(super) fn with_archive<A>(
    action: &Action<A>,
    verified: Option<Verified>,
) -> Result<Action<Verified>, Failure> {
    let missing = || Failure::new(NamedCode::Build, "the package's archive was not fetched");
    Ok(match action {
        Action::Launch { command, .. } => Action::Launch {
            archive: verified.ok_or_else(missing)?,
            command: command.clone(),
        },
        Action::Execute { command, .. } => Action::Execute {
            archive: verified,
            command: command.clone(),
        },
        Action::Store { folder, .. } => Action::Store {
            archive: verified.ok_or_else(missing)?,
            folder: folder.clone(),
        },
    })
}

/// Runs what blocks where it holds up nothing else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
