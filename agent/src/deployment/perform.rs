//! The edge of the state machine: performs effects and returns their results as events.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use packcast_archive::Summary;
use packcast_protocol::api::{BeginRequest, Report, Secret, Task};
use packcast_protocol::manifest::{AnnouncedManifest, ManifestError};
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{Action, PackageId, PackageName, Sha256Digest, with_causes};
use tokio_util::sync::CancellationToken;

use super::attempt_error::AttemptError;
use super::blocking;
use super::go::{self, Go};
use super::later_questions::LaterQuestions;
use super::machine::{DeploymentState, Effect, StepEvent};
use super::removals::Removals;
use super::step::step;
use crate::act::{self, HeldProgram, Prepared};
use crate::client::ApiClient;
use crate::clock::now;
use crate::config::Config;
use crate::event::{self, Observer};
use crate::failure::DeploymentFailure;
use crate::fetch::PackageSource;
use crate::manifest::{self, AcceptError, Accepted};
use crate::platform::Containment;
use crate::stage::{FetchedArchive, VerifiedArchive, VerifyError};
use crate::state::history::History;
use crate::state::identity;
use crate::state::journal::{self, Acting, Finished, Journal, RunningProgram, StoredJournal};
use crate::state::{PackageDir, StateDir, StateError};
use crate::target_state::followed_state::FollowedState;
use crate::target_state::permits::{ManifestFacts, Permits, WaitReason};
use crate::update::{UpdateTask, Updates, VersionFiles};

/// One package of this device, with everything that its effects need.
pub(crate) struct Deployment<'a> {
    pub(crate) id: PackageId,
    pub(crate) dir: PackageDir,
    /// The locations of the package.
    pub(crate) source: PackageSource<'a>,
    pub(crate) config: &'a Config,
    pub(crate) followed: &'a RefCell<FollowedState>,
    pub(crate) state: &'a StateDir,
    pub(crate) history: &'a RefCell<History>,
    pub(crate) later: &'a RefCell<LaterQuestions>,
    pub(crate) containment: &'a Containment,
    pub(crate) removals: &'a Removals,
    pub(crate) updates: &'a Updates,
    pub(crate) api: &'a ApiClient,
    pub(crate) observer: &'a Observer,
    pub(crate) stop: &'a CancellationToken,
    /// Cancelled when the function cancels the attempt under way.
    pub(crate) cancel: &'a CancellationToken,
}

/// The reason why an effect was not performed.
enum NotDone {
    AttemptError(AttemptError),
    State(StateError),
}

impl From<StateError> for NotDone {
    fn from(error: StateError) -> Self {
        AttemptError::try_from(error).map_or_else(Self::State, Self::AttemptError)
    }
}

impl<E: Into<AttemptError>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::AttemptError(error.into())
    }
}

impl Deployment<'_> {
    /// Runs the machine from the journal on disk to the next state at rest.
    ///
    /// An error of the state folder ends the run, as if the agent had stopped there.
    pub(crate) async fn drive(&self, event: StepEvent) -> Result<DeploymentState, StateError> {
        self.removals.ended(self.id, &self.dir)?;
        let found = journal::read(&self.dir)?;
        let (mut state, mut effect) = step(DeploymentState::Resting(found), event);
        while let Some(next) = effect {
            // Boxed, because the largest effect decides the size of this future.
            let event = Box::pin(self.perform_interruptible(next)).await?;
            (state, effect) = step(state, event);
        }
        Ok(state)
    }

    async fn perform_interruptible(&self, effect: Effect) -> Result<StepEvent, StateError> {
        if !effect.is_interruptible() {
            return self.perform(effect).await;
        }
        let performed = self.cancel.run_until_cancelled(self.perform(effect));
        match self.stop.run_until_cancelled(performed).await {
            Some(Some(event)) => event,
            Some(None) => Ok(StepEvent::AttemptCancelled { now: now() }),
            None => Ok(StepEvent::Stopped),
        }
    }

    async fn perform(&self, effect: Effect) -> Result<StepEvent, StateError> {
        match self.try_perform(effect).await {
            Ok(event) => Ok(event),
            Err(NotDone::AttemptError(error)) => {
                // A wrong clock must not end the time for which an attempt waits.
                let clock = now();
                let skew = self.api.clock_skew();
                let now = skew.map_or(clock, |skew| skew.correct(clock));
                Ok(StepEvent::EffectFailed { error, now })
            }
            Err(NotDone::State(error)) => Err(error),
        }
    }

    async fn try_perform(&self, effect: Effect) -> Result<StepEvent, NotDone> {
        match effect {
            Effect::Write(journal) => self.write(&journal).await,
            Effect::FetchManifest(task) => self.fetch_manifest(&task).await,
            Effect::FetchFragments(manifest) => self.fetch_fragments(&manifest).await,
            Effect::Verify(fetched) => self.verify(fetched).await,
            Effect::Prepare(manifest, verified) => self.prepare(manifest, verified).await,
            Effect::Judge(manifest) => self.judge(&manifest),
            Effect::Ask(request) => self.ask(&request).await,
            Effect::Act(prepared, go) => self.act(*prepared, go).await,
            Effect::Tidy => {
                self.remove_as_far_as_possible(PackageDir::remove_parts)
                    .await;
                Ok(StepEvent::Tidied)
            }
            Effect::FreeContents => {
                self.remove_as_far_as_possible(PackageDir::discard_contents)
                    .await;
                Ok(StepEvent::Freed)
            }
            Effect::Report(report) => self.report(report).await,
            Effect::Remember(finished) => self.remember(&finished),
            Effect::Remove => {
                let removed = self.removals.run(self.id, &self.dir, PackageDir::remove);
                removed.await.flatten().map_err(NotDone::State)?;
                Ok(StepEvent::Removed)
            }
        }
    }

    /// Removes files of the package. A removal that takes too long goes on, and the package then
    /// rests until its end.
    async fn remove_as_far_as_possible(&self, work: fn(&PackageDir)) {
        if let Err(error) = self.removals.run(self.id, &self.dir, work).await {
            tracing::warn!(package = %self.id, error = with_causes(&error), "cannot wait for a removal");
        }
    }

    /// Writes the journal, on a full disk, too.
    ///
    /// A full disk has room for a result: the agent reserves some before it acts, and the removed
    /// contents of the package leave some.
    async fn write(&self, journal: &Journal) -> Result<StepEvent, NotDone> {
        match journal {
            Journal::Acting(_) => self.dir.reserve_space()?,
            Journal::Finished(_) => self.dir.release_space().map_err(NotDone::State)?,
            Journal::Fetching(_) => {}
        }
        let write = || journal::write(&self.dir, journal);
        match (journal, write().map_err(NotDone::from)) {
            (Journal::Finished(_), Err(NotDone::AttemptError(_))) => {
                self.remove_as_far_as_possible(PackageDir::discard_contents)
                    .await;
                write().map_err(NotDone::State)?;
            }
            (_, written) => written?,
        }
        Ok(StepEvent::Written)
    }

    async fn fetch_manifest(&self, task: &Task) -> Result<StepEvent, NotDone> {
        let announced = AnnouncedManifest {
            id: task.id,
            manifest: task.manifest_sha256,
        };
        let kept = self.dir.kept_manifest();
        let kept = kept.filter(|document| Sha256Digest::of(document) == announced.manifest);
        let document = match kept {
            Some(document) => document,
            None => manifest::fetch(&self.source, announced.manifest).await?,
        };
        let now = self.followed.borrow().time(now());
        let manifest = Accepted::read(&document, announced, now);
        let manifest = manifest.map_err(|error| self.by_clock(error))?;
        // The archive of a package that has to wait is not fetched. The attempt ends with a result
        // only directly before the action.
        let past = self.history.borrow().past(self.id);
        if let Err(reason) = self.permits_of(&manifest).authorise(task, &past) {
            if let Err(error) = self.dir.keep_manifest(&document) {
                let error = with_causes(&error);
                tracing::warn!(package = %self.id, error, "cannot keep the manifest: it will be fetched again");
            }
            return Err(AttemptError::NotPermitted(reason).into());
        }
        self.observe(event::Event::ManifestVerified {
            id: self.id,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
        });
        Ok(StepEvent::Manifest(Arc::new(manifest)))
    }

    /// Checks the manifest and the mandates again, directly before the agent acts.
    ///
    /// The agent does not yield between this check and the write of the journal entry, so no
    /// message from the function comes between them.
    fn judge(&self, manifest: &Accepted) -> Result<StepEvent, NotDone> {
        let now = now();
        let checked = manifest.check_expiry(self.followed.borrow().time(now));
        checked.map_err(|error| self.by_clock(error))?;
        Ok(StepEvent::Judged {
            permits: self.permits_of(manifest),
            past: self.history.borrow().past(self.id),
            now,
        })
    }

    /// Makes a package wait that has expired only by the device's clock, which is wrong.
    fn by_clock(&self, error: AcceptError) -> AttemptError {
        let (AcceptError::Refused(ManifestError::Expired { expires }), Some(skew)) =
            (&error, self.api.clock_skew())
        else {
            return error.into();
        };
        if self.followed.borrow().time(skew.correct(now())) >= *expires {
            return error.into();
        }
        let detail = format!(
            "the package expires {}, and {skew}: set the device's clock",
            expires.day()
        );
        AttemptError::NotPermitted(WaitReason::new(WaitWord::Clock, detail))
    }

    /// Returns the permits of the package, whose manifest is verified.
    fn permits_of(&self, manifest: &Accepted) -> Permits {
        let facts = ManifestFacts::of(manifest, self.newest_success(&manifest.name));
        // The locations were known at the start of the attempt, and later ones are not needed.
        self.followed.borrow().permits(&[], Some(facts), now())
    }

    /// Returns the highest id of the succeeded packages with this name, with and without an accepted
    /// report.
    fn newest_success(&self, name: &PackageName) -> Option<PackageId> {
        let journals = journal::read_all(self.state).into_values();
        let unreported = journals.filter_map(|found| match found {
            StoredJournal::Read(Journal::Finished(finished)) => finished.success_of(name),
            _ => None,
        });
        unreported.chain(self.history.borrow().newest(name)).max()
    }

    async fn fetch_fragments(&self, manifest: &Accepted) -> Result<StepEvent, NotDone> {
        let of = manifest
            .action
            .archive()
            .map_or(0, |archive| archive.fragment_count().get() as usize);
        let on_fragment = |number, bytes, already| {
            self.observe(event::Event::fragment(self.id, number, of, bytes, already));
        };
        let folder = self.dir.create_fragments()?;
        let unpacked = match &manifest.action {
            Action::Store { folder, .. } => act::store_folder(folder, &self.state.install_path())?,
            Action::Launch { .. } | Action::Execute { .. } | Action::Update { .. } => {
                folder.clone()
            }
        };
        let parallel = self.config.parallel_downloads;
        let fetched = FetchedArchive::fetch(
            manifest,
            &self.source,
            &folder,
            &unpacked,
            parallel,
            on_fragment,
        );
        Ok(StepEvent::Fetched(fetched.await?))
    }

    async fn verify(&self, fetched: FetchedArchive) -> Result<StepEvent, NotDone> {
        let verified = match blocking(move || fetched.verify()).await {
            Err(error @ VerifyError::Fragments { .. }) => {
                tracing::warn!(package = %self.id, %error, "found damaged fragments");
                return Err(error.into());
            }
            verified => verified?,
        };
        let (id, bytes) = (self.id, verified.bytes());
        self.observe(event::Event::ArchiveVerified { id, bytes });
        Ok(StepEvent::Verified(verified))
    }

    async fn prepare(
        &self,
        manifest: Arc<Accepted>,
        verified: Option<VerifiedArchive>,
    ) -> Result<StepEvent, NotDone> {
        let action = with_archive(&manifest.action, verified)?;
        let work = PackageDir::fresh_work_folder;
        let work = self.removals.run(self.id, &self.dir, work).await??;
        let install_path = self.state.install_path();
        let limits = self.config.limits;
        let versions = VersionFiles::of(self.state);
        let prepared = blocking(move || {
            act::prepare(&manifest, action, work, &install_path, &versions, &limits)
        });
        let prepared = prepared.await?;
        match &prepared {
            Prepared::Run(program) => self.observe_unpacked(program.unpacked),
            Prepared::Update { unpacked, .. } => self.observe_unpacked(Some(*unpacked)),
            Prepared::Store { .. } => {}
        }
        Ok(StepEvent::Prepared(Box::new(prepared)))
    }

    /// Asks the function if the device may begin. Without an answer, the device does not begin.
    async fn ask(&self, request: &BeginRequest) -> Result<StepEvent, NotDone> {
        let pass = identity::load_pass(self.state).map_err(NotDone::State)?;
        let Some(pass) = pass else {
            let reason = go::unanswered("this device has no pass");
            return Ok(StepEvent::Held(reason));
        };
        let (asked, clock) = (Instant::now(), now());
        let go = Go::new(asked, clock);
        let known = self.followed.borrow().known_time();
        let permission = match self.api.begin(pass, request, known).await {
            Ok(reply) => {
                let permission = go::permission(reply, go);
                let attempt = (self.id, request.attempt);
                let reason = permission.as_ref().err();
                let mut later = self.later.borrow_mut();
                later.answered(attempt, reply, reason, (asked, clock));
                permission
            }
            Err(error) => Err(go::unanswered(&with_causes(&error))),
        };
        Ok(permission.map_or_else(StepEvent::Held, StepEvent::Permitted))
    }

    async fn act(&self, prepared: Prepared, go: Go) -> Result<StepEvent, NotDone> {
        if !go.is_valid(Instant::now(), now()) {
            return Ok(StepEvent::GoExpired);
        }
        self.observe(event::Event::Started { id: self.id });
        let result = match prepared {
            Prepared::Run(program) => {
                let held = program.hold(self.containment, &self.id.to_string())?;
                self.record_program(&held)?;
                held.run().await?
            }
            Prepared::Store { archive, folders } => {
                let (dir, limits) = (self.dir.clone(), self.config.limits);
                let store = move || {
                    // Before the first temporary file, so that none of them can outlive the package.
                    dir.note_store(&folders)?;
                    let result = act::store(&archive, folders.root(), &limits)?;
                    dir.forget_store();
                    Ok::<_, NotDone>(result)
                };
                let result = blocking(store).await?;
                self.observe_unpacked(result.stored);
                result
            }
            Prepared::Update { program, .. } => {
                let task = self.update_task()?;
                let staging = self.updates.staging(program, task);
                blocking(staging).await.map_err(NotDone::from)?;
                self.updates.staged();
                return Ok(StepEvent::Staged);
            }
        };
        Ok(StepEvent::Done { result, now: now() })
    }

    /// Returns the attempt in the journal.
    fn update_task(&self) -> Result<UpdateTask, NotDone> {
        Ok(UpdateTask {
            package: self.id,
            attempt: self.acting()?.attempt,
        })
    }

    /// Reads the journal of an action that begins.
    fn acting(&self) -> Result<Acting, NotDone> {
        let found = journal::read(&self.dir).map_err(NotDone::State)?;
        if let Some(StoredJournal::Read(Journal::Acting(acting))) = found {
            return Ok(acting);
        }
        let reason = "the journal changed before the action";
        Err(DeploymentFailure::new(NamedCode::Execute, reason).into())
    }

    /// Adds the program to the journal, so that another agent process finds it.
    ///
    /// The journal is on disk when this returns.
    fn record_program(&self, held: &HeldProgram) -> Result<(), NotDone> {
        let Some(record) = held.record()? else {
            return Ok(());
        };
        let acting = self.acting()?;
        let program = RunningProgram {
            record,
            since: now(),
            limit_s: held.timeout.as_secs(),
        };
        let acting = Acting {
            program: Some(program),
            ..acting
        };
        Ok(journal::write(&self.dir, &Journal::Acting(acting))?)
    }

    /// Reports a result. A result that is not accepted is sent again with the next check-in.
    async fn report(&self, report: Report) -> Result<StepEvent, NotDone> {
        let attempt = report.attempt;
        let pass = identity::load_pass(self.state).map_err(NotDone::State)?;
        let accepted = match pass {
            Some(pass) => self.send(pass, report).await,
            None => false,
        };
        let id = self.id;
        self.observe(event::Event::Reported { id, accepted });
        Ok(if accepted {
            StepEvent::ReportAccepted { attempt }
        } else {
            StepEvent::NotAccepted
        })
    }

    async fn send(&self, pass: Secret, report: Report) -> bool {
        let known = self.followed.borrow().known_time();
        match self
            .stop
            .run_until_cancelled(self.api.report(pass, vec![report], known))
            .await
        {
            Some(Ok(reply)) => reply.accepted.contains(&self.id),
            Some(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "cannot report a result");
                false
            }
            None => false,
        }
    }

    fn remember(&self, finished: &Finished) -> Result<StepEvent, NotDone> {
        let mut history = self.history.borrow_mut();
        let remembered = history.remember(self.state, finished);
        remembered.map_err(NotDone::State)?;
        Ok(StepEvent::Remembered)
    }

    fn observe(&self, event: event::Event) {
        (self.observer)(event);
    }

    fn observe_unpacked(&self, summary: Option<Summary>) {
        if let Some(Summary { entries, bytes }) = summary {
            let id = self.id;
            self.observe(event::Event::Unpacked { id, entries, bytes });
        }
    }
}

/// Replaces the archive's description in an action with the verified archive.
pub(super) fn with_archive<A>(
    action: &Action<A>,
    verified: Option<VerifiedArchive>,
) -> Result<Action<VerifiedArchive>, DeploymentFailure> {
    let missing =
        || DeploymentFailure::new(NamedCode::Build, "the package's archive was not fetched");
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
        Action::Update { .. } => Action::Update {
            archive: verified.ok_or_else(missing)?,
        },
    })
}
