//! One package, from its announcement to its result.

use packcast_protocol::api::{Report, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Action, Outcome, PackageId};
use reqwest::Client;

use crate::act::{self, Done, Prepared};
use crate::archive::Summary;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::failure::{Failure, is_full};
use crate::fetch::{FetchError, Source};
use crate::history::History;
use crate::journal::{self, Finished, Journal, Named};
use crate::manifest::{self, AcceptError, Accepted, Judge};
use crate::miss::{NotObtained, Verdict};
use crate::stage::{Fetched, Verified, VerifyError};
use crate::state::{PackageDir, StateDir, StateError, now};
use crate::stop::Stop;

/// How long an attempt waits for locations that do not answer: as long as stock agents wait.
const MAX_WAIT_S: u64 = 30 * 86_400;

/// What a deployment needs besides the task.
pub(crate) struct Deployer<'a> {
    pub(crate) config: &'a Config,
    pub(crate) state: &'a StateDir,
    pub(crate) http: &'a Client,
    pub(crate) agent: &'a packcast_protocol::AgentId,
    /// What has finished on this device, accepted or not.
    pub(crate) history: &'a History,
    pub(crate) observer: &'a Observer,
    pub(crate) stop: &'a Stop,
    /// Set if this attempt is called off, which is heard until it is acted on.
    pub(crate) call_off: &'a Stop,
}

/// How a deployment came to an end for now.
pub(crate) enum Ended {
    /// There is a result, which the journal has, too.
    Finished(Finished),
    /// The package waits for another check-in, and why.
    Deferred(String),
    /// The attempt was called off before it was acted on. What was fetched is still there.
    CalledOff,
    /// The agent is asked to stop.
    Stopped,
}

/// Why a deployment goes no further.
enum Halt {
    Failed(Failure),
    Deferred(String),
    CalledOff,
    Stopped,
    State(StateError),
}

impl From<StateError> for Halt {
    fn from(error: StateError) -> Self {
        match &error {
            StateError::File { source, .. } if is_full(source) => {
                Self::Failed(Failure::of(NamedCode::OutOfSpace, &error))
            }
            _ => Self::State(error),
        }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Halt {
    /// Tells what follows if no location gave a file; `wrong` is the code for one that is not
    /// what was published.
    fn not_obtained(file: &NotObtained, wrong: NamedCode) -> Self {
        let code = match file.verdict() {
            Verdict::Later => return Self::Deferred(file.to_string()),
            Verdict::Absent => NamedCode::DownloadPack,
            Verdict::Wrong => wrong,
        };
        Self::Failed(Failure::of(code, file))
    }
}

impl From<FetchError> for Halt {
    fn from(error: FetchError) -> Self {
        let code = match &error {
            FetchError::NotObtained(file) => {
                return Self::not_obtained(file, NamedCode::BadDigest);
            }
            FetchError::Disk { source, .. } if is_full(source) => NamedCode::OutOfSpace,
            FetchError::Disk { .. } => NamedCode::Build,
        };
        Self::Failed(Failure::of(code, &error))
    }
}

impl From<AcceptError> for Halt {
    fn from(error: AcceptError) -> Self {
        let code = match &error {
            AcceptError::Manifest(file) => {
                return Self::not_obtained(file, NamedCode::BadManifest);
            }
            AcceptError::Signature(file) => {
                return Self::not_obtained(file, NamedCode::BadSignature);
            }
            AcceptError::Refused(manifest) => return Self::Failed(manifest.into()),
            AcceptError::Audience { .. } => NamedCode::WrongAudience,
            AcceptError::GoingBack { .. } => NamedCode::GoingBack,
            AcceptError::Platform { .. } => NamedCode::WrongPlatform,
        };
        Self::Failed(Failure::of(code, &error))
    }
}

impl From<VerifyError> for Halt {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Whole { .. } => Self::Failed(Failure::of(NamedCode::BadDigest, &error)),
            VerifyError::Read { .. } => Self::Failed(Failure::of(NamedCode::Build, &error)),
            VerifyError::Fragments { .. } => Self::Deferred(error.to_string()),
        }
    }
}

impl Deployer<'_> {
    /// Deploys a package and leaves its result in its journal.
    pub(crate) async fn deploy(&self, task: &Task) -> Result<Ended, StateError> {
        let dir = self.state.package(task.id);
        let mut accepted = None;
        let done = match self.try_through(task, &dir, &mut accepted).await {
            Ok(done) => done,
            Err(Halt::Failed(failure)) => failure.into(),
            Err(Halt::Deferred(reason)) => return Ok(Ended::Deferred(reason)),
            Err(Halt::CalledOff) => return Ok(Ended::CalledOff),
            Err(Halt::Stopped) => return Ok(Ended::Stopped),
            Err(Halt::State(error)) => return Err(error),
        };
        let finished = finished(task, done, accepted.as_ref());
        journal::finish(&dir, &finished)?;
        Ok(Ended::Finished(finished))
    }

    /// Goes through with the deployment, which must not wait for its locations for ever: it
    /// holds up all that has a lower priority.
    async fn try_through(
        &self,
        task: &Task,
        dir: &PackageDir,
        accepted: &mut Option<Accepted>,
    ) -> Result<Done, Halt> {
        dir.create()?;
        let fetching = journal::fetch(dir, task.attempt, now())?;
        match self.go_through(task, dir, accepted).await {
            Err(Halt::Deferred(reason)) if fetching.waited(now()) >= MAX_WAIT_S => {
                let detail = format!("given up after {} days: {reason}", MAX_WAIT_S / 86_400);
                Err(Failure::new(NamedCode::Timeout, &detail).into())
            }
            ended => ended,
        }
    }

    async fn go_through(
        &self,
        task: &Task,
        dir: &PackageDir,
        accepted: &mut Option<Accepted>,
    ) -> Result<Done, Halt> {
        let source = Source::new(self.http, task.id, &task.locations);
        let manifest = self.unless_asked(self.accept(task, &source)).await??;
        let manifest = &*accepted.insert(manifest);
        let verified = self.archive(&source, manifest, dir).await?;
        let prepared = self.prepare(manifest, verified, dir).await?;
        self.unless_asked(async {}).await?;
        let acting = Journal::Acting {
            attempt: task.attempt,
            package: named(manifest),
            // Files that are stored again are the same files.
            may_repeat: manifest.rerun_after_interruption
                || matches!(prepared, Prepared::Store { .. }),
        };
        journal::write(dir, &acting)?;
        Ok(self.act(task.id, prepared).await?)
    }

    /// Waits for work that changes nothing on the device, unless it is asked to end.
    async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        let work = self.stop.unless(self.call_off.unless(work)).await;
        work.ok_or(Halt::Stopped)?.ok_or(Halt::CalledOff)
    }

    async fn accept(&self, task: &Task, source: &Source<'_>) -> Result<Accepted, Halt> {
        let judge = Judge {
            keys: &self.config.trusted_keys,
            agent: self.agent,
            history: self.history,
            now: now(),
        };
        let manifest = manifest::fetch(source, task, judge).await?;
        (self.observer)(Event::ManifestVerified {
            id: task.id,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
        });
        Ok(manifest)
    }

    /// Fetches and verifies the archive. Fragments that went wrong on disk are fetched again,
    /// once: a disk that goes on like that has to wait for the next check-in.
    async fn archive(
        &self,
        source: &Source<'_>,
        manifest: &Accepted,
        dir: &PackageDir,
    ) -> Result<Option<Verified>, Halt> {
        let fetched = self.fetch(source, manifest, dir).await?;
        match self.verify(manifest.id, fetched).await {
            Err(error @ VerifyError::Fragments { .. }) => {
                tracing::warn!(package = %manifest.id, %error, "fragments went wrong on disk");
                let fetched = self.fetch(source, manifest, dir).await?;
                Ok(self.verify(manifest.id, fetched).await?)
            }
            verified => Ok(verified?),
        }
    }

    async fn fetch(
        &self,
        source: &Source<'_>,
        manifest: &Accepted,
        dir: &PackageDir,
    ) -> Result<Option<Fetched>, Halt> {
        let of = manifest
            .action
            .archive()
            .map_or(0, |archive| archive.fragment_count().get() as usize);
        let arrived = |number, bytes, already| {
            (self.observer)(Event::fragment(manifest.id, number, of, bytes, already));
        };
        let parallel = self.config.parallel_downloads;
        let folder = dir.fragments();
        let fetched = Fetched::fetch(manifest, source, &folder, parallel, arrived);
        Ok(self.unless_asked(fetched).await??)
    }

    async fn verify(
        &self,
        id: PackageId,
        fetched: Option<Fetched>,
    ) -> Result<Option<Verified>, VerifyError> {
        let Some(fetched) = fetched else {
            return Ok(None);
        };
        let verified = blocking(move || fetched.verify()).await?;
        let bytes = verified.bytes();
        (self.observer)(Event::ArchiveVerified { id, bytes });
        Ok(Some(verified))
    }

    async fn prepare(
        &self,
        manifest: &Accepted,
        verified: Option<Verified>,
        dir: &PackageDir,
    ) -> Result<Prepared, Halt> {
        let action = with_archive(&manifest.action, verified)?;
        let work = dir.fresh_work_folder()?;
        let install_path = self.state.path().to_owned();
        let (manifest, limits) = (manifest.clone(), self.config.limits);
        let id = manifest.id;
        let prepared =
            blocking(move || act::prepare(&manifest, action, work, &install_path, &limits)).await?;
        if let Prepared::Run(program) = &prepared {
            self.unpacked(id, program.unpacked);
        }
        Ok(prepared)
    }

    async fn act(&self, id: PackageId, prepared: Prepared) -> Result<Done, Failure> {
        (self.observer)(Event::Started { id });
        match prepared {
            Prepared::Run(program) => program.run().await,
            Prepared::Store { archive, folder } => {
                let limits = self.config.limits;
                let done = blocking(move || act::store(&archive, folder, &limits)).await?;
                self.unpacked(id, done.stored);
                Ok(done)
            }
        }
    }

    fn unpacked(&self, id: PackageId, summary: Option<Summary>) {
        if let Some(Summary { entries, bytes }) = summary {
            (self.observer)(Event::Unpacked { id, entries, bytes });
        }
    }
}

/// Puts the verified archive where the action names its description.
fn with_archive<A>(
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

impl From<Failure> for Done {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.into(),
            detail: Some(failure.detail),
            output_tail: None,
            stored: None,
        }
    }
}

fn named(manifest: &Accepted) -> Named {
    Named {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
    }
}

fn finished(task: &Task, done: Done, manifest: Option<&Accepted>) -> Finished {
    let outcome = manifest.map_or(Outcome::Failed, |manifest| {
        done.code.outcome(&manifest.success_codes)
    });
    Finished {
        report: Report {
            id: task.id,
            attempt: task.attempt,
            code: done.code,
            detail: done.detail,
            output_tail: done.output_tail,
            finished: now(),
        },
        outcome,
        package: manifest.map(named),
    }
}
