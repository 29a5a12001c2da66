//! Properties of the state machine under random events, with its disk and its function.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_archive::Limits;
use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::manifest::{AnnouncedManifest, Audience, Platform};
use packcast_protocol::result::NamedCode;
use packcast_protocol::schema::Schema;
use packcast_protocol::{
    Action, Archive, ArchiveFormat, FragmentSize, Manifest, Outcome, PackageId, Priority,
    ResultCode, Sha256Digest, UnixTime,
};
use proptest::prelude::*;

use super::attempt_error::AttemptError;
use super::go::{self, Go};
use super::machine::{DeploymentState, Effect, NextStep, ProgramFate, StepEvent};
use super::perform::with_archive;
use super::step::step;
use crate::act::{self, ActResult};
use crate::failure::DeploymentFailure;
use crate::manifest::Accepted;
use crate::stage::{FetchedArchive, VerifiedArchive};
use crate::state::history::PastResults;
use crate::state::journal::{Acting, Fetching, Finished, Journal, StoredJournal};
use crate::target_state::permits::Permits;
use crate::target_state::test_state::{entry, permits_of_all};
use crate::update::VersionFiles;

const NOW: UnixTime = UnixTime(1_795_000_900);

/// An archive that holds one empty file.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, "file", &[][..]).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
});

fn id() -> PackageId {
    PackageId::try_from(1_795_000_000).unwrap()
}

/// The kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PackageKind {
    RunsOnce,
    RunsAgain,
    Stores,
}

impl PackageKind {
    /// Returns `true` if the package may be acted on again after an interruption.
    fn repeats(self) -> bool {
        self != Self::RunsOnce
    }

    fn manifest(self) -> Arc<Accepted> {
        static MANIFESTS: LazyLock<[Arc<Accepted>; 3]> = LazyLock::new(|| {
            [
                PackageKind::RunsOnce,
                PackageKind::RunsAgain,
                PackageKind::Stores,
            ]
            .map(accepted)
        });
        Arc::clone(&MANIFESTS[self as usize])
    }
}

fn archive() -> Archive {
    let size = FragmentSize::try_from(1024).unwrap();
    let digest = Sha256Digest::of(&CONTENT);
    let bytes = CONTENT.len() as u64;
    Archive::new(ArchiveFormat::TarGz, bytes, digest, size, vec![digest]).unwrap()
}

fn accepted(kind: PackageKind) -> Arc<Accepted> {
    let action = match kind {
        PackageKind::RunsOnce | PackageKind::RunsAgain => Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        },
        PackageKind::Stores => Action::Store {
            archive: archive(),
            folder: "INSTALL_PATH/stored".parse().unwrap(),
        },
    };
    let manifest = Manifest {
        schema: Schema,
        id: id(),
        name: "x".parse().unwrap(),
        version: "1".parse().unwrap(),
        priority: Priority::DEFAULT,
        action,
        platform: Platform::Any,
        success_codes: [0].into(),
        reboot_codes: [].into(),
        timeout_s: 60,
        rerun_after_interruption: kind == PackageKind::RunsAgain,
        expires: None,
        audience: Audience::Any,
    };
    let bytes = manifest.to_bytes().unwrap();
    let announced = AnnouncedManifest {
        id: id(),
        manifest: Sha256Digest::of(&bytes),
    };
    Arc::new(Accepted::read(&bytes, announced, NOW).unwrap())
}

/// One random event. A move that does not fit the state lets the effect under way succeed.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// The effect under way succeeds; a program exits with this code.
    Succeed(i32),
    /// The effect fails for good.
    Fail,
    /// The effect fails for now, and this many days have passed.
    Later(u64),
    Damage,
    Stop,
    CancelAttempt,
    /// The agent dies, before or after the effect was performed, and starts again.
    Crash {
        done: bool,
    },
    /// The journal is damaged, which the next start finds.
    DamageJournal,
    Announce {
        attempt: u32,
        blocked: bool,
    },
    Cancel(u32),
    /// The publisher assigns the package again, with this force from now on.
    Assign {
        force: bool,
    },
    /// The publisher unassigns the package.
    Unassign,
    ReportDue,
    /// A check-in carried the report, and the function accepted it.
    AcceptReport,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => (0..2).prop_map(Move::Succeed),
        1 => Just(Move::Fail),
        1 => prop_oneof![Just(0), Just(31)].prop_map(Move::Later),
        1 => Just(Move::Damage),
        1 => Just(Move::Stop),
        1 => Just(Move::CancelAttempt),
        3 => any::<bool>().prop_map(|done| Move::Crash { done }),
        1 => Just(Move::DamageJournal),
        4 => (1_u32..4, proptest::bool::weighted(0.25))
            .prop_map(|(attempt, blocked)| Move::Announce { attempt, blocked }),
        1 => (1_u32..4).prop_map(Move::Cancel),
        2 => any::<bool>().prop_map(|force| Move::Assign { force }),
        1 => Just(Move::Unassign),
        2 => Just(Move::ReportDue),
        1 => Just(Move::AcceptReport),
    ]
}

/// The seq and the force of an entry, if the state has one.
type AssignedEntry = Option<(u64, bool)>;

/// Returns the permits of a state that assigns the package to the group `all`, or nothing.
///
/// States are signed once, because signatures take most of the time.
fn state_permits(assigned: AssignedEntry) -> Permits {
    static STATES: Mutex<BTreeMap<AssignedEntry, Permits>> = Mutex::new(BTreeMap::new());
    let mut states = STATES.lock().unwrap();
    let create = || {
        let manifest = Sha256Digest::of(b"");
        permits_of_all(assigned.map(|(seq, force)| entry(id(), manifest, seq, force)))
    };
    states.entry(assigned).or_insert_with(create).clone()
}

/// Everything that outlives the agent's process, and the observations of the test.
struct AgentModel {
    kind: PackageKind,
    /// The seq and the force of the latest entry. An agent accepts no earlier one.
    assigned: (u64, bool),
    /// `true` if the package was unassigned after that.
    withdrawn: bool,
    /// The number of actions under each mandate.
    mandates: BTreeMap<u64, u32>,
    /// The folder of the fragment.
    folder: PathBuf,
    journal: Option<StoredJournal>,
    past: PastResults,
    /// The number of actions of each attempt.
    acted: BTreeMap<u32, u32>,
    /// The first result of each attempt in the journal.
    results: BTreeMap<u32, Finished>,
    accepted: BTreeSet<u32>,
    /// The attempt of a damaged journal.
    damaged: Option<u32>,
    /// Attempts whose damaged journal was replaced by the result of another attempt.
    ///
    /// Nothing on disk shows these attempts any more. If a function announces one again, the agent
    /// acts again, provided that the publisher has assigned the package again.
    forgotten: BTreeSet<u32>,
    /// The task that was announced last.
    announced: Option<Task>,
    /// The last effect that was performed and reported to the machine.
    acknowledged: Option<Acknowledged>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Acknowledged {
    Acting(Acting),
    Other,
}

impl AgentModel {
    /// Checks an effect before it is performed.
    fn check(&self, effect: &Effect) {
        match effect {
            Effect::Act(..) => self.check_act(),
            Effect::Write(Journal::Finished(finished)) => {
                let Finished { report, .. } = finished;
                if let Some(first) = self.results.get(&report.attempt) {
                    assert_eq!(report.code, first.report.code, "an attempt has one result");
                }
            }
            Effect::Write(Journal::Fetching(Fetching { attempt, .. })) => {
                assert!(
                    !self.results.contains_key(attempt),
                    "a finished attempt must not begin again"
                );
            }
            Effect::FreeContents => {
                assert!(self.finished().is_some(), "the result is on disk first");
            }
            Effect::Remove => {
                let finished = self.finished().expect("only a finished journal is removed");
                let attempt = finished.report.attempt;
                assert!(self.accepted.contains(&attempt));
                assert!(self.past.attempt(attempt).is_some());
            }
            _ => {}
        }
    }

    fn check_act(&self) {
        let Some(StoredJournal::Read(Journal::Acting(acting))) = &self.journal else {
            panic!(
                "expected a journal entry for acting, found {:?}",
                self.journal
            );
        };
        let acknowledged = Some(Acknowledged::Acting(acting.clone()));
        assert_eq!(
            self.acknowledged, acknowledged,
            "the journal is written directly before the action"
        );
        let task = self.announced.as_ref().expect("the task was announced");
        assert_eq!(acting.attempt, task.attempt);
        assert_eq!(acting.may_repeat, self.kind.repeats());
        assert!(
            !self.results.contains_key(&task.attempt),
            "a finished attempt must not act again"
        );
        let acted = self.acted.contains_key(&task.attempt);
        assert!(!acted || self.may_repeat(task.attempt), "acted twice");
        let used = self.mandates.contains_key(&self.assigned.0);
        assert!(
            !used || self.kind.repeats(),
            "acted twice under one mandate"
        );
        assert!(!self.withdrawn, "acted on an unassigned package");
        let mut results = self.results.values();
        let set_up = results.any(|result| result.outcome == Outcome::Succeeded);
        let (_, forced) = self.assigned;
        assert!(!set_up || forced, "the package was already set up");
    }

    fn may_repeat(&self, attempt: u32) -> bool {
        self.kind.repeats() || self.forgotten.contains(&attempt)
    }

    fn finished(&self) -> Option<&Finished> {
        match &self.journal {
            Some(StoredJournal::Read(Journal::Finished(finished))) => Some(finished),
            _ => None,
        }
    }

    /// Checks that no result is lost, and that the machine waits for an effect or is at rest.
    fn check_rest(&self, next: &NextStep) {
        let at_rest = matches!(
            next.0,
            DeploymentState::Resting(_)
                | DeploymentState::Waiting { .. }
                | DeploymentState::AwaitingState { .. }
        );
        assert_eq!(at_rest, next.1.is_none(), "stuck in {:?}", next.0);
        for attempt in self.results.keys() {
            let waits = self.finished().map(|finished| finished.report.attempt) == Some(*attempt);
            assert!(waits || self.past.attempt(*attempt).is_some(), "{attempt}");
        }
    }

    /// Performs an effect successfully.
    fn perform(&mut self, effect: Effect, code: i32) -> StepEvent {
        match effect {
            Effect::Write(journal) => {
                if let Journal::Finished(finished) = &journal {
                    let results = self.results.entry(finished.report.attempt);
                    results.or_insert_with(|| finished.clone());
                    let damaged = self.damaged.take();
                    let other = damaged.filter(|attempt| *attempt != finished.report.attempt);
                    self.forgotten.extend(other);
                }
                self.journal = Some(StoredJournal::Read(journal));
                StepEvent::Written
            }
            Effect::FetchManifest(_) => StepEvent::Manifest(self.kind.manifest()),
            Effect::FetchFragments(manifest) => StepEvent::Fetched(
                manifest
                    .action
                    .archive()
                    .map(|archive| FetchedArchive::for_test(archive.clone(), self.folder.clone())),
            ),
            Effect::Verify(fetched) => StepEvent::Verified(fetched.verify().unwrap()),
            Effect::Prepare(manifest, verified) => prepare(&manifest, verified),
            Effect::Judge(_) => StepEvent::Judged {
                permits: self.permits(),
                past: self.past.clone(),
                now: NOW,
            },
            Effect::Ask(asked) => {
                let task = self.announced.as_ref().expect("the task was announced");
                assert_eq!((asked.id, asked.attempt), (task.id, task.attempt));
                assert!(!asked.mandates.is_empty());
                StepEvent::Permitted(Go::new(Instant::now(), NOW))
            }
            Effect::Act(..) => {
                let task = self.announced.as_ref().expect("the task was announced");
                *self.acted.entry(task.attempt).or_default() += 1;
                *self.mandates.entry(self.assigned.0).or_default() += 1;
                let result = ActResult {
                    code: ResultCode::ExitCode(code),
                    detail: None,
                    output_tail: None,
                    stored: None,
                    boot: None,
                };
                StepEvent::Done { result, now: NOW }
            }
            Effect::Tidy => StepEvent::Tidied,
            Effect::FreeContents => StepEvent::Freed,
            Effect::Report(report) => {
                let attempt = report.attempt;
                self.accepted.insert(attempt);
                StepEvent::ReportAccepted { attempt }
            }
            Effect::Remember(finished) => {
                if self.past.attempt(finished.report.attempt).is_none() {
                    self.past.insert(finished);
                }
                StepEvent::Remembered
            }
            Effect::Remove => {
                self.journal = None;
                StepEvent::Removed
            }
        }
    }

    /// Returns the event that follows an effect under way.
    fn answer(&mut self, effect: Effect, chosen: Move) -> StepEvent {
        let halted = |error, now| StepEvent::EffectFailed { error, now };
        let failure =
            || AttemptError::Failed(DeploymentFailure::new(NamedCode::OutOfSpace, "full"));
        match (chosen, &effect) {
            (Move::Fail, Effect::Report(_)) => StepEvent::NotAccepted,
            (Move::Fail, Effect::Ask(_)) => StepEvent::Held(go::unanswered("503")),
            // The agent did not act: its permission was too old.
            (Move::Later(_), Effect::Act(..)) => StepEvent::GoExpired,
            (Move::Fail, Effect::Act(..)) => {
                self.perform(effect, 0);
                halted(failure(), NOW)
            }
            (
                Move::Fail,
                Effect::Write(Journal::Fetching(_) | Journal::Acting(_))
                | Effect::FetchManifest(_)
                | Effect::FetchFragments(_)
                | Effect::Verify(_)
                | Effect::Prepare(..)
                | Effect::Judge(_),
            ) => halted(failure(), NOW),
            (Move::Later(days), Effect::FetchManifest(_) | Effect::FetchFragments(_)) => {
                let now = NOW.plus(days * 86_400);
                halted(AttemptError::Later("503".to_owned()), now)
            }
            (Move::Damage, Effect::Verify(_)) => halted(AttemptError::Damaged("1".to_owned()), NOW),
            (Move::Stop, effect) if effect.is_interruptible() => StepEvent::Stopped,
            (Move::CancelAttempt, effect) if effect.is_interruptible() => {
                StepEvent::AttemptCancelled { now: NOW }
            }
            (chosen, _) => {
                let code = match chosen {
                    Move::Succeed(code) => code,
                    _ => 0,
                };
                let acknowledged = match &effect {
                    Effect::Write(Journal::Acting(acting)) => Acknowledged::Acting(acting.clone()),
                    _ => Acknowledged::Other,
                };
                let event = self.perform(effect, code);
                self.acknowledged = Some(acknowledged);
                event
            }
        }
    }

    fn permits(&self) -> Permits {
        state_permits((!self.withdrawn).then_some(self.assigned))
    }

    /// Returns the event of a move while the machine is at rest, if the move causes one.
    fn event_at_rest(&mut self, chosen: Move) -> Option<StepEvent> {
        let past = self.past.clone();
        Some(match chosen {
            Move::Announce { attempt, blocked } => {
                let task = Task {
                    id: id(),
                    attempt,
                    priority: Priority::DEFAULT,
                    manifest_sha256: Sha256Digest::of(b""),
                    locations: Vec::new(),
                    folder: "d/package".parse().unwrap(),
                };
                self.announced = Some(task.clone());
                StepEvent::Announced {
                    task,
                    permits: self.permits(),
                    past,
                    blocked,
                    now: NOW,
                }
            }
            Move::Cancel(attempt) => StepEvent::Cancelled {
                cancel: Cancel { id: id(), attempt },
                permits: self.permits(),
                past,
                now: NOW,
            },
            Move::ReportDue => StepEvent::ReportDue,
            Move::AcceptReport => {
                let attempt = self.finished()?.report.attempt;
                self.accepted.insert(attempt);
                StepEvent::ReportAccepted { attempt }
            }
            Move::Assign { force } => {
                self.assigned = (self.assigned.0 + 1, force);
                self.withdrawn = false;
                return None;
            }
            Move::Stop => StepEvent::Stopped,
            _ => return None,
        })
    }

    fn restart(&mut self) -> NextStep {
        self.acknowledged = None;
        let event = StepEvent::Restarted {
            id: id(),
            program: ProgramFate::Unseen,
            now: NOW,
        };
        self.step(DeploymentState::Resting(self.journal.clone()), event)
    }

    /// Damages the journal. A result that only the journal had is lost.
    fn damage_journal(&mut self) {
        let path = PathBuf::from("journal");
        if let Some(StoredJournal::Read(journal)) =
            self.journal.replace(StoredJournal::Unreadable { path })
        {
            let attempt = journal.attempt();
            self.damaged = Some(attempt);
            if self.past.attempt(attempt).is_none() {
                self.results.remove(&attempt);
            }
        }
    }

    fn step(&mut self, state: DeploymentState, event: StepEvent) -> NextStep {
        let blocked = matches!(event, StepEvent::Announced { blocked: true, .. });
        let next = step(state, event);
        if let Some(effect) = &next.1 {
            self.check(effect);
            let begins = matches!(
                effect,
                Effect::FetchManifest(_)
                    | Effect::Write(Journal::Fetching(Fetching { since: Some(_), .. }))
            );
            assert!(!(blocked && begins), "a blocked attempt must wait");
        }
        self.check_rest(&next);
        next
    }

    fn go(&mut self, (state, effect): NextStep, one: Move) -> NextStep {
        // No event reaches the machine between the last check and the action.
        let committed = matches!(
            effect,
            Some(Effect::Write(Journal::Acting(_)) | Effect::Act(..))
        );
        self.withdrawn |= matches!(one, Move::Unassign) && !committed;
        match (one, effect) {
            (Move::Crash { done }, effect) => {
                if let Some(effect) = effect.filter(|_| done) {
                    self.perform(effect, 0);
                }
                self.restart()
            }
            (Move::DamageJournal, None) if self.journal.is_some() => {
                self.damage_journal();
                self.restart()
            }
            (chosen, Some(effect)) => {
                let event = self.answer(effect, chosen);
                self.step(state, event)
            }
            (chosen, None) => match self.event_at_rest(chosen) {
                Some(event) => self.step(state, event),
                None => (state, None),
            },
        }
    }

    /// Lets every effect succeed until the machine is at rest.
    fn settle(&mut self, mut next: NextStep) -> DeploymentState {
        for _ in 0..20 {
            if next.1.is_none() {
                return next.0;
            }
            next = self.go(next, Move::Succeed(0));
        }
        panic!("not at rest after 20 steps: {:?}", next.0);
    }
}

fn prepare(manifest: &Accepted, verified: Option<VerifiedArchive>) -> StepEvent {
    let action = with_archive(&manifest.action, verified).unwrap();
    let (work, install_path) = (PathBuf::from("work"), PathBuf::from("/"));
    let versions = VersionFiles::at("/versions".into());
    let limits = Limits::default();
    let prepared = act::prepare(manifest, action, work, &install_path, &versions, &limits);
    StepEvent::Prepared(Box::new(prepared.unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Each step is checked. The agent acts only after the journal entry, once, and on no finished
    /// attempt. A result is written once, after space was made for it, and removed only after it
    /// was accepted and added to the history. Every state leads to another. At the end, after one
    /// more crash, the last attempt reaches its result, and the report reaches the function.
    #[test]
    fn no_sequence_of_events_repeats_an_action_or_loses_a_result(
        kind in prop_oneof![Just(PackageKind::RunsOnce), Just(PackageKind::RunsAgain), Just(PackageKind::Stores)],
        moves in proptest::collection::vec(any_move(), 0..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1"), &*CONTENT).unwrap();
        let mut model = AgentModel {
            kind,
            assigned: (1, false),
            withdrawn: false,
            mandates: BTreeMap::new(),
            folder: folder.path().to_owned(),
            journal: None,
            past: PastResults::default(),
            acted: BTreeMap::new(),
            results: BTreeMap::new(),
            accepted: BTreeSet::new(),
            announced: None,
            acknowledged: None,
            damaged: None,
            forgotten: BTreeSet::new(),
        };
        let mut next = (DeploymentState::Resting(None), None);
        for one in moves {
            next = model.go(next, one);
        }
        let restarted = model.restart();
        let rest = model.settle(restarted);
        let (rest, _) = model.go((rest, None), Move::Assign { force: true });
        let last = Move::Announce { attempt: 4, blocked: false };
        let announced = model.go((rest, None), last);
        let rest = model.settle(announced);
        prop_assert!(model.results.contains_key(&4));
        let reported = model.go((rest, None), Move::ReportDue);
        model.settle(reported);
        prop_assert!(model.accepted.contains(&4) && model.past.attempt(4).is_some());
        prop_assert!(model.journal.is_none());
        for (attempt, times) in &model.acted {
            prop_assert!(*times == 1 || model.may_repeat(*attempt), "{attempt}: {times}");
        }
        let once = model.mandates.values().all(|times| *times == 1);
        prop_assert!(once || kind.repeats(), "{:?}", model.mandates);
    }
}
