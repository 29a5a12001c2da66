//! What holds whatever happens: a machine, its disk and its function, in any weather.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_archive::Limits;
use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::manifest::{Announced, Audience, Platform};
use packcast_protocol::result::NamedCode;
use packcast_protocol::signed::SchemaNumber;
use packcast_protocol::{
    Action, Archive, ArchiveFormat, FragmentSize, Manifest, Outcome, PackageId, Priority,
    ResultCode, Sha256Digest, UnixTime, VerifiedManifest,
};
use proptest::prelude::*;

use super::halt::Halt;
use super::machine::{Effect, Event, Next, State};
use super::perform::with_archive;
use super::step::step;
use crate::act::{self, Done};
use crate::failure::Failure;
use crate::manifest::Accepted;
use crate::stage::{Fetched, Verified};
use crate::state::history::Past;
use crate::state::journal::{Acting, Fetching, Finished, Found, Journal};
use crate::trust::mandates::Mandates;

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

/// What the package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RunsOnce,
    RunsAgain,
    Stores,
}

impl Kind {
    /// Whether it may be acted on again after an interruption.
    fn repeats(self) -> bool {
        self != Self::RunsOnce
    }

    fn manifest(self) -> Arc<Accepted> {
        static MANIFESTS: LazyLock<[Arc<Accepted>; 3]> =
            LazyLock::new(|| [Kind::RunsOnce, Kind::RunsAgain, Kind::Stores].map(sign));
        Arc::clone(&MANIFESTS[self as usize])
    }
}

fn archive() -> Archive {
    let size = FragmentSize::try_from(1024).unwrap();
    let digest = Sha256Digest::of(&CONTENT);
    let bytes = CONTENT.len() as u64;
    Archive::new(ArchiveFormat::TarGz, bytes, digest, size, vec![digest]).unwrap()
}

fn sign(kind: Kind) -> Arc<Accepted> {
    let action = match kind {
        Kind::RunsOnce | Kind::RunsAgain => Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        },
        Kind::Stores => Action::Store {
            archive: archive(),
            folder: "INSTALL_PATH/stored".parse().unwrap(),
        },
    };
    let manifest = Manifest {
        schema: SchemaNumber,
        id: id(),
        name: "x".parse().unwrap(),
        version: "1".parse().unwrap(),
        priority: Priority::DEFAULT,
        action,
        platform: Platform::Any,
        success_codes: [0].into(),
        reboot_codes: [].into(),
        timeout_s: 60,
        rerun_after_interruption: kind == Kind::RunsAgain,
        going_back: false,
        expires: UnixTime(4_102_444_800),
        audience: Audience::Any,
    };
    let bytes = manifest.to_bytes().unwrap();
    let signer = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = minisign::sign(None, &signer.sk, &bytes[..], None, None).unwrap();
    let announced = Announced {
        id: id(),
        manifest: Sha256Digest::of(&bytes),
    };
    let keys = [signer.pk.to_base64().parse().unwrap()];
    let verified =
        VerifiedManifest::verify(&bytes, &signature.into_string(), announced, &keys, NOW);
    Arc::new(Accepted::for_test(verified.unwrap(), announced))
}

/// One thing that happens. What does not fit the moment lets the effect under way succeed.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// The effect under way succeeds; a program's code is this.
    Succeed(i32),
    /// It fails for good.
    Fail,
    /// It may succeed after these days.
    Later(u64),
    Damage,
    Stop,
    BreakOff,
    /// The agent dies, before or after the effect was done, and is started again.
    Crash {
        done: bool,
    },
    /// A flipped bit, found at the next start.
    Rot,
    Tell {
        attempt: u32,
        force: bool,
        held: bool,
    },
    CallOff(u32),
    /// The publisher assigns the package again, from now on by this force.
    Assign {
        force: bool,
    },
    /// The publisher takes the assignment back.
    Unassign,
    ReportDue,
    /// A check-in brought the report, and the function accepted it.
    CheckIn,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => (0..2).prop_map(Move::Succeed),
        1 => Just(Move::Fail),
        1 => prop_oneof![Just(0), Just(31)].prop_map(Move::Later),
        1 => Just(Move::Damage),
        1 => Just(Move::Stop),
        1 => Just(Move::BreakOff),
        3 => any::<bool>().prop_map(|done| Move::Crash { done }),
        1 => Just(Move::Rot),
        4 => (1_u32..4, any::<bool>(), any::<bool>())
            .prop_map(|(attempt, force, held)| Move::Tell { attempt, force, held: held && force }),
        1 => (1_u32..4).prop_map(Move::CallOff),
        2 => any::<bool>().prop_map(|force| Move::Assign { force }),
        1 => Just(Move::Unassign),
        2 => Just(Move::ReportDue),
        1 => Just(Move::CheckIn),
    ]
}

/// All that outlives the agent's process, and what was seen of it.
struct World {
    kind: Kind,
    /// Whether only signed assignments count; else the function's word is enough.
    signed: bool,
    /// The number and the force of the latest signed assignment. An agent takes no earlier one.
    assigned: (u64, bool),
    /// Whether that was taken back since.
    taken_back: bool,
    /// How often each assignment was acted on.
    assignments: BTreeMap<u64, u32>,
    /// Holds the fragment.
    folder: PathBuf,
    journal: Option<Found>,
    past: Past,
    /// How often each attempt was acted on.
    acted: BTreeMap<u32, u32>,
    /// The first result of each attempt that the journal had.
    results: BTreeMap<u32, Finished>,
    accepted: BTreeSet<u32>,
    /// Which attempt a damaged journal was of.
    damaged: Option<u32>,
    /// Attempts whose damaged journal the result of another attempt replaced. Nothing on disk
    /// tells of them any more: a function that goes back to one has it done again, if the
    /// publisher has assigned the package again or the function's word is enough.
    forgotten: BTreeSet<u32>,
    /// The task that the device was told last.
    told: Option<Task>,
    /// What was done, and told to the machine, last.
    acknowledged: Option<Acknowledged>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Acknowledged {
    Acting(Acting),
    Other,
}

impl World {
    /// Holds what must be so of an effect before it is done.
    fn check(&self, effect: &Effect) {
        match effect {
            Effect::Act(_) => self.check_act(),
            Effect::Write(Journal::Finished(finished)) => {
                let Finished { report, .. } = finished;
                if let Some(first) = self.results.get(&report.attempt) {
                    assert_eq!(report.code, first.report.code, "one result");
                }
            }
            Effect::Write(Journal::Fetching(Fetching { attempt, .. })) => {
                assert!(!self.results.contains_key(attempt), "it was finished");
            }
            Effect::FreeContents => {
                assert!(self.finished().is_some(), "the result is on disk first");
            }
            Effect::Remove => {
                let finished = self.finished().expect("only a result is removed");
                let attempt = finished.report.attempt;
                assert!(self.accepted.contains(&attempt));
                assert!(self.past.attempt(attempt).is_some());
            }
            _ => {}
        }
    }

    fn check_act(&self) {
        let Some(Found::Read(Journal::Acting(acting))) = &self.journal else {
            panic!("the journal has {:?}", self.journal);
        };
        let acknowledged = Some(Acknowledged::Acting(acting.clone()));
        assert_eq!(self.acknowledged, acknowledged, "directly before it");
        let task = self.told.as_ref().expect("it was told");
        assert_eq!(acting.attempt, task.attempt);
        assert_eq!(acting.may_repeat, self.kind.repeats());
        assert!(!self.results.contains_key(&task.attempt), "it was finished");
        let acted = self.acted.contains_key(&task.attempt);
        assert!(!acted || self.may_repeat(task.attempt), "twice");
        let used = self.assignments.contains_key(&self.assigned.0);
        assert!(
            !self.signed || !used || self.kind.repeats(),
            "an assignment twice"
        );
        assert!(!self.signed || !self.taken_back, "it was taken back");
        let mut results = self.results.values();
        let set_up = results.any(|result| result.outcome == Outcome::Succeeded);
        let forced = task.force && (!self.signed || self.assigned.1);
        assert!(!set_up || forced, "it was set up already");
    }

    fn may_repeat(&self, attempt: u32) -> bool {
        self.kind.repeats() || self.forgotten.contains(&attempt)
    }

    fn finished(&self) -> Option<&Finished> {
        match &self.journal {
            Some(Found::Read(Journal::Finished(finished))) => Some(finished),
            _ => None,
        }
    }

    /// Holds that no result is lost, and that the machine waits for something or is at rest.
    fn check_rest(&self, next: &Next) {
        let at_rest = matches!(next.0, State::Resting(_) | State::Waiting { .. });
        assert_eq!(at_rest, next.1.is_none(), "stuck in {:?}", next.0);
        for attempt in self.results.keys() {
            let waits = self.finished().map(|finished| finished.report.attempt) == Some(*attempt);
            assert!(waits || self.past.attempt(*attempt).is_some(), "{attempt}");
        }
    }

    /// Does an effect as well as can be.
    fn perform(&mut self, effect: Effect, code: i32) -> Event {
        match effect {
            Effect::Write(journal) => {
                if let Journal::Finished(finished) = &journal {
                    let results = self.results.entry(finished.report.attempt);
                    results.or_insert_with(|| finished.clone());
                    let damaged = self.damaged.take();
                    let other = damaged.filter(|attempt| *attempt != finished.report.attempt);
                    self.forgotten.extend(other);
                }
                self.journal = Some(Found::Read(journal));
                Event::Written
            }
            Effect::FetchManifest(_) => Event::Manifest(self.kind.manifest()),
            Effect::FetchFragments(manifest) => Event::Fetched(
                manifest
                    .action
                    .archive()
                    .map(|archive| Fetched::for_test(archive.clone(), self.folder.clone())),
            ),
            Effect::Verify(fetched) => Event::Verified(fetched.verify().unwrap()),
            Effect::Prepare(manifest, verified) => prepare(&manifest, verified),
            Effect::Judge(_) => Event::Judged {
                mandates: self.mandates(),
                past: self.past.clone(),
                now: NOW,
            },
            Effect::Act(_) => {
                let told = self.told.as_ref().expect("it was told");
                *self.acted.entry(told.attempt).or_default() += 1;
                *self.assignments.entry(self.assigned.0).or_default() += 1;
                let done = Done {
                    code: ResultCode::ExitCode(code),
                    detail: None,
                    output_tail: None,
                    stored: None,
                };
                Event::Done { done, now: NOW }
            }
            Effect::Tidy => Event::Tidied,
            Effect::FreeContents => Event::Freed,
            Effect::Report(report) => {
                let attempt = report.attempt;
                self.accepted.insert(attempt);
                Event::ReportAccepted { attempt }
            }
            Effect::Remember(finished) => {
                if self.past.attempt(finished.report.attempt).is_none() {
                    self.past.insert(finished);
                }
                Event::Remembered
            }
            Effect::Remove => {
                self.journal = None;
                Event::Removed
            }
        }
    }

    /// Returns what comes of an effect under way.
    fn answer(&mut self, effect: Effect, weather: Move) -> Event {
        let halted = |why, now| Event::Halted { why, now };
        let failure = || Halt::Failed(Failure::new(NamedCode::OutOfSpace, "full"));
        match (weather, &effect) {
            (Move::Fail, Effect::Report(_)) => Event::NotAccepted,
            (Move::Fail, Effect::Act(_)) => {
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
                halted(Halt::Later("503".to_owned()), now)
            }
            (Move::Damage, Effect::Verify(_)) => halted(Halt::Damaged("1".to_owned()), NOW),
            (Move::Stop, effect) if effect.gives_way() => Event::Stopped,
            (Move::BreakOff, effect) if effect.gives_way() => Event::BrokenOff { now: NOW },
            (weather, _) => {
                let code = match weather {
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

    fn mandates(&self) -> Mandates {
        let (seq, force) = self.assigned;
        match (self.signed, self.taken_back) {
            (false, _) => Mandates::of_server(),
            (true, true) => Mandates::default(),
            (true, false) => Mandates::of_all(seq, force),
        }
    }

    /// Returns what a machine at rest hears, if it hears anything.
    fn hear(&mut self, heard: Move) -> Option<Event> {
        let past = self.past.clone();
        Some(match heard {
            Move::Tell {
                attempt,
                force,
                held,
            } => {
                let task = Task {
                    id: id(),
                    attempt,
                    priority: Priority::DEFAULT,
                    locations: Vec::new(),
                    manifest_sha256: Sha256Digest::of(b""),
                    force,
                };
                self.told = Some(task.clone());
                Event::Told {
                    task,
                    mandates: self.mandates(),
                    past,
                    held,
                    now: NOW,
                }
            }
            Move::CallOff(attempt) => Event::CalledOff {
                cancel: Cancel { id: id(), attempt },
                mandates: self.mandates(),
                past,
                now: NOW,
            },
            Move::ReportDue => Event::ReportDue,
            Move::CheckIn => {
                let attempt = self.finished()?.report.attempt;
                self.accepted.insert(attempt);
                Event::ReportAccepted { attempt }
            }
            Move::Assign { force } => {
                self.assigned = (self.assigned.0 + 1, force);
                self.taken_back = false;
                return None;
            }
            Move::Stop => Event::Stopped,
            _ => return None,
        })
    }

    fn restart(&mut self) -> Next {
        self.acknowledged = None;
        let event = Event::Restarted { id: id(), now: NOW };
        self.step(State::Resting(self.journal.clone()), event)
    }

    /// Damages the journal: what it had of a result that nothing else has is lost.
    fn rot(&mut self) {
        let path = PathBuf::from("journal");
        if let Some(Found::Read(journal)) = self.journal.replace(Found::Unreadable { path }) {
            let attempt = journal.attempt();
            self.damaged = Some(attempt);
            if self.past.attempt(attempt).is_none() {
                self.results.remove(&attempt);
            }
        }
    }

    fn step(&mut self, state: State, event: Event) -> Next {
        let held = matches!(event, Event::Told { held: true, .. });
        let next = step(state, event);
        if let Some(effect) = &next.1 {
            self.check(effect);
            let begins = matches!(
                effect,
                Effect::FetchManifest(_) | Effect::Write(Journal::Fetching(_))
            );
            assert!(!(held && begins), "it was to wait");
        }
        self.check_rest(&next);
        next
    }

    fn go(&mut self, (state, effect): Next, one: Move) -> Next {
        // Nothing is heard between the last judgement and the word of the journal.
        let committed = matches!(
            effect,
            Some(Effect::Write(Journal::Acting(_)) | Effect::Act(_))
        );
        self.taken_back |= matches!(one, Move::Unassign) && !committed;
        match (one, effect) {
            (Move::Crash { done }, effect) => {
                if let Some(effect) = effect.filter(|_| done) {
                    self.perform(effect, 0);
                }
                self.restart()
            }
            (Move::Rot, None) if self.journal.is_some() => {
                self.rot();
                self.restart()
            }
            (weather, Some(effect)) => {
                let event = self.answer(effect, weather);
                self.step(state, event)
            }
            (heard, None) => match self.hear(heard) {
                Some(event) => self.step(state, event),
                None => (state, None),
            },
        }
    }

    /// Goes on in good weather to the next rest.
    fn settle(&mut self, mut next: Next) -> State {
        for _ in 0..20 {
            if next.1.is_none() {
                return next.0;
            }
            next = self.go(next, Move::Succeed(0));
        }
        panic!("no end: {:?}", next.0);
    }
}

fn prepare(manifest: &Accepted, verified: Option<Verified>) -> Event {
    let action = with_archive(&manifest.action, verified).unwrap();
    let (work, install_path) = (PathBuf::from("work"), PathBuf::from("/"));
    let prepared = act::prepare(manifest, action, work, &install_path, &Limits::default());
    Event::Prepared(Box::new(prepared.unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Checked at each step: what is acted on was committed directly before, once, and has no
    /// result; a result is written once, after space was made for it, and goes only when it was
    /// accepted and is remembered; something always leads on. At the end, after one more crash,
    /// the last attempt comes to its result, and the report to the function.
    #[test]
    fn whatever_happens_nothing_is_done_twice_or_lost(
        kind in prop_oneof![Just(Kind::RunsOnce), Just(Kind::RunsAgain), Just(Kind::Stores)],
        signed in any::<bool>(),
        moves in proptest::collection::vec(any_move(), 0..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1"), &*CONTENT).unwrap();
        let mut world = World {
            kind,
            signed,
            assigned: (1, false),
            taken_back: false,
            assignments: BTreeMap::new(),
            folder: folder.path().to_owned(),
            journal: None,
            past: Past::default(),
            acted: BTreeMap::new(),
            results: BTreeMap::new(),
            accepted: BTreeSet::new(),
            told: None,
            acknowledged: None,
            damaged: None,
            forgotten: BTreeSet::new(),
        };
        let mut next = (State::Resting(None), None);
        for one in moves {
            next = world.go(next, one);
        }
        let restarted = world.restart();
        let rest = world.settle(restarted);
        let (rest, _) = world.go((rest, None), Move::Assign { force: true });
        let last = Move::Tell { attempt: 4, force: true, held: false };
        let told = world.go((rest, None), last);
        let rest = world.settle(told);
        prop_assert!(world.results.contains_key(&4));
        let reported = world.go((rest, None), Move::ReportDue);
        world.settle(reported);
        prop_assert!(world.accepted.contains(&4) && world.past.attempt(4).is_some());
        prop_assert!(world.journal.is_none());
        for (attempt, times) in &world.acted {
            prop_assert!(*times == 1 || world.may_repeat(*attempt), "{attempt}: {times}");
        }
        let once = world.assignments.values().all(|times| *times == 1);
        prop_assert!(once || !signed || kind.repeats(), "{:?}", world.assignments);
    }
}
