//! The process that valgrind runs: check-ins of one device.

use std::ffi::OsString;
use std::fmt;
use std::hint::black_box;
use std::num::ParseFloatError;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Request;
use packcast_check_in::CheckInFunction;
use packcast_local::{Engine, EngineStorage};
use packcast_store::Records;
use packcast_store::records::{ServiceAnswer, TableService};
use packcast_testing::meter::Usage;
use packcast_testing::table::NOW;
use tokio::runtime;

use crate::callgrind::counted_work;
use crate::prepared::{PreparedRecords, peer, settle};
use crate::{AgentKind, CheckInPart, settings};

/// The largest number of counted check-ins.
pub(crate) const MAX_CHECK_INS: usize = 21;

/// Arguments of the process.
#[derive(Debug)]
pub(crate) struct MeasureArgs {
    pub(crate) records: PreparedRecords,
    pub(crate) kind: AgentKind,
    pub(crate) tasks: u32,
    pub(crate) part: CheckInPart,
    /// Number of counted check-ins, at most [`MAX_CHECK_INS`].
    pub(crate) check_ins: usize,
}

/// Calls of the table and their consumed capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableUse {
    pub(crate) calls: f64,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
}

impl MeasureArgs {
    /// Returns the words on the command line.
    pub(crate) fn words(&self) -> [OsString; 8] {
        [
            "--measure".into(),
            self.records.file.clone().into(),
            self.records.table.clone().into(),
            self.records.trust.to_string().into(),
            self.kind.to_string().into(),
            self.tasks.to_string().into(),
            self.part.to_string().into(),
            self.check_ins.to_string().into(),
        ]
    }

    /// Parses the words after the option; `None` for other words.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let [file, table, trust, kind, tasks, part, check_ins] = words else {
            return None;
        };
        let records = PreparedRecords {
            file: file.into(),
            table: table.clone(),
            trust: trust.parse().ok()?,
        };
        Some(Self {
            records,
            kind: AgentKind::ALL
                .into_iter()
                .find(|it| it.to_string() == *kind)?,
            tasks: tasks.parse().ok()?,
            part: CheckInPart::ALL
                .into_iter()
                .find(|it| it.to_string() == *part)?,
            check_ins: check_ins.parse().ok()?,
        })
    }
}

impl TableUse {
    fn of(usage: &Usage) -> Self {
        let calls = u32::try_from(usage.operations.len()).unwrap_or(u32::MAX);
        Self {
            calls: calls.into(),
            read_units: usage.read_units,
            write_units: usage.write_units,
        }
    }
}

impl fmt::Display for TableUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.calls, self.read_units, self.write_units)
    }
}

impl FromStr for TableUse {
    type Err = ParseFloatError;

    fn from_str(text: &str) -> Result<Self, ParseFloatError> {
        let mut numbers = text.split(' ').map(str::parse);
        let mut next = || numbers.next().unwrap_or_else(|| "".parse());
        Ok(Self {
            calls: next()?,
            read_units: next()?,
            write_units: next()?,
        })
    }
}

/// A call of the engine: the operation and the body.
type Call = (String, Vec<u8>);

/// The purpose of the present check-ins.
#[derive(Debug)]
enum Phase {
    /// Their calls of the engine are of no interest.
    Unobserved,
    /// Their calls of the engine are noted.
    Recorded(Vec<Call>),
    /// Their use of the table is noted.
    Metered(Usage),
}

/// The engine, whose calls are noted.
#[derive(Debug)]
struct CountedEngine {
    engine: Arc<dyn TableService>,
    phase: Mutex<Phase>,
}

impl CountedEngine {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a phase, and returns the one before.
    fn begin(&self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase(), phase)
    }
}

impl TableService for CountedEngine {
    fn perform(&self, operation: &str, body: &[u8]) -> ServiceAnswer {
        let answer = self.engine.perform(operation, body);
        match &mut *self.phase() {
            Phase::Unobserved => {}
            Phase::Recorded(calls) => calls.push((operation.to_owned(), body.to_vec())),
            Phase::Metered(usage) => usage.note(operation.to_owned(), answer.body.as_bytes()),
        }
        answer
    }
}

/// Lets the device check in, and returns its use of the table.
pub(crate) fn measure(args: &MeasureArgs) -> TableUse {
    // One thread: valgrind counts while this thread is in the function.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be created");
    let storage = EngineStorage::File(args.records.file.clone());
    let engine = runtime.block_on(Engine::start(storage));
    let engine = engine.expect("the engine opens its file");
    let counted = Arc::new(CountedEngine {
        engine: engine.service_of_function(),
        phase: Mutex::new(Phase::Unobserved),
    });
    let service: Arc<dyn TableService> = Arc::clone(&counted) as _;
    let records = Records::in_process(service, &args.records.table, &engine.endpoint());
    let trust = &args.records.trust;
    let function = CheckInFunction::new(records, settings(trust.clone()));
    let peer = peer(args.kind, args.tasks, trust.clone());
    runtime.block_on(settle(&function, &peer, args.tasks));
    // Always as many, because their creation allocates, too.
    let requests = || (0..MAX_CHECK_INS).map(|_| peer.check_in(&[], NOW));
    let [mut warm, mut counting, mut metered] =
        [requests(), requests(), requests()].map(Vec::from_iter);
    let answer = |requests: &mut Vec<Request<Bytes>>, count: usize| {
        for request in requests.drain(..count) {
            let response = runtime.block_on(function.handle(request, NOW));
            assert!(response.status().is_success(), "{response:?}");
        }
    };
    answer(&mut warm, MAX_CHECK_INS);
    match args.part {
        CheckInPart::Whole => counted_work(&mut || answer(&mut counting, args.check_ins)),
        CheckInPart::Engine => {
            counted.begin(Phase::Recorded(Vec::new()));
            answer(&mut counting, 1);
            let Phase::Recorded(calls) = counted.begin(Phase::Unobserved) else {
                unreachable!("this phase records");
            };
            counted_work(&mut || {
                for (operation, body) in (0..args.check_ins).flat_map(|_| &calls) {
                    black_box(counted.engine.perform(operation, body));
                }
            });
        }
    }
    counted.begin(Phase::Metered(Usage::default()));
    answer(&mut metered, 1);
    let Phase::Metered(usage) = counted.begin(Phase::Unobserved) else {
        unreachable!("the last phase meters");
    };
    TableUse::of(&usage)
}
