//! The process that valgrind runs: check-ins of one device.

use std::ffi::OsString;
use std::fmt;
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

use crate::prepared::{PreparedRecords, peer, settle};
use crate::{AgentKind, CHECK_INS, CountedPart, settings};

/// The first argument of the process.
pub(crate) const MEASURE: &str = "--measure";

/// Arguments of the process.
#[derive(Debug)]
pub(crate) struct MeasureArgs {
    records: PreparedRecords,
    kind: AgentKind,
    tasks: u32,
    part: CountedPart,
}

/// Calls of the table and their consumed capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableUse {
    pub(crate) calls: f64,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
}

impl MeasureArgs {
    pub(crate) fn of(
        records: &PreparedRecords,
        kind: AgentKind,
        tasks: u32,
        part: CountedPart,
    ) -> Self {
        Self {
            records: records.clone(),
            kind,
            tasks,
            part,
        }
    }

    /// Returns the words on the command line.
    pub(crate) fn words(&self) -> [OsString; 6] {
        [
            MEASURE.into(),
            self.records.file.clone().into(),
            self.records.table.clone().into(),
            self.kind.as_str().into(),
            self.tasks.to_string().into(),
            self.part.as_str().into(),
        ]
    }

    /// Parses the words after [`MEASURE`].
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let [file, table, kind, tasks, part] = words else {
            return None;
        };
        let records = PreparedRecords {
            file: file.into(),
            table: table.clone(),
        };
        Some(Self {
            records,
            kind: AgentKind::ALL.into_iter().find(|it| it.as_str() == kind)?,
            tasks: tasks.parse().ok()?,
            part: CountedPart::ALL
                .into_iter()
                .find(|it| it.as_str() == part)?,
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

    /// Returns the mean of several check-ins.
    pub(crate) fn of_each(self, check_ins: u32) -> Self {
        let each = |sum: f64| sum / f64::from(check_ins);
        Self {
            calls: each(self.calls),
            read_units: each(self.read_units),
            write_units: each(self.write_units),
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

/// Returns the name of the function while which valgrind counts.
pub(crate) const fn function_of(part: CountedPart) -> &'static str {
    match part {
        CountedPart::Whole => "counted_check_ins",
        CountedPart::Engine => "counted_engine_call",
    }
}

/// Calls `work`. The parameter has a type without a name, because valgrind finds this function by its
/// name, and must not find others whose names contain it.
#[inline(never)]
fn counted_check_ins(work: &mut dyn FnMut()) {
    work();
}

#[inline(never)]
fn counted_engine_call(engine: &dyn TableService, operation: &str, body: &[u8]) -> ServiceAnswer {
    engine.perform(operation, body)
}

/// The purpose of the present check-ins.
#[derive(Debug)]
enum Phase {
    /// To fill the caches.
    Warm,
    /// Valgrind counts them.
    Counted,
    /// Their use of the table is noted. This is work that the function does not do.
    Metered(Usage),
}

/// The engine, whose calls valgrind can count.
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
        match &mut *self.phase() {
            Phase::Warm => self.engine.perform(operation, body),
            Phase::Counted => counted_engine_call(&*self.engine, operation, body),
            Phase::Metered(usage) => {
                let answer = self.engine.perform(operation, body);
                usage.note(operation.to_owned(), answer.body.as_bytes());
                answer
            }
        }
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
        phase: Mutex::new(Phase::Warm),
    });
    let service: Arc<dyn TableService> = Arc::clone(&counted) as _;
    let records = Records::in_process(service, &args.records.table, &engine.endpoint());
    let function = CheckInFunction::new(records, settings());
    let peer = peer(args.kind, args.tasks);
    runtime.block_on(settle(&function, &peer, args.tasks));
    let requests = || (0..CHECK_INS).map(|_| peer.check_in(&[], NOW)).collect();
    let [mut warm, mut counting, mut metered]: [Vec<_>; 3] = [requests(), requests(), requests()];
    let answer = |requests: &mut Vec<Request<Bytes>>| {
        for request in requests.drain(..) {
            let response = runtime.block_on(function.handle(request, NOW));
            assert!(response.status().is_success(), "{response:?}");
        }
    };
    answer(&mut warm);
    counted.begin(Phase::Counted);
    counted_check_ins(&mut || answer(&mut counting));
    counted.begin(Phase::Metered(Usage::default()));
    answer(&mut metered);
    let Phase::Metered(usage) = counted.begin(Phase::Warm) else {
        unreachable!("the last phase meters");
    };
    TableUse::of(&usage)
}
