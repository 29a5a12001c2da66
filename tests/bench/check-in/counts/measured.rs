//! The process that valgrind runs: check-ins of one device.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Request;
use packcast_check_in::CheckInFunction;
use packcast_local::{Engine, EngineStorage};
use packcast_store::Records;
use packcast_store::records::{ServiceAnswer, TableService};
use packcast_testing::meter::Usage;
use packcast_testing::table::NOW;
use packcast_tests::settings::settings;
use serde::{Deserialize, Serialize};

use super::prepared::{PreparedRecords, peer, settle};
use super::{AgentKind, CountedPart};

/// Arguments of the process.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// The file of the records
    #[arg(long, hide = true, requires_all = ["table", "kind", "tasks", "part", "check_ins"])]
    pub(crate) measure: Option<PathBuf>,
    #[arg(long, hide = true)]
    table: Option<String>,
    #[arg(long, hide = true)]
    kind: Option<AgentKind>,
    #[arg(long, hide = true)]
    tasks: Option<u32>,
    #[arg(long, hide = true)]
    part: Option<CountedPart>,
    #[arg(long, hide = true)]
    check_ins: Option<u32>,
}

/// Calls of the table and their consumed capacity.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct TableUse {
    pub(super) calls: f64,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
}

impl MeasureArgs {
    /// Returns the words on the command line.
    pub(super) fn words(
        records: &PreparedRecords,
        kind: AgentKind,
        tasks: u32,
        part: CountedPart,
        check_ins: u32,
    ) -> [OsString; 6] {
        let kind = match kind {
            AgentKind::Prolog => "prolog",
            AgentKind::Json => "json",
        };
        let part = match part {
            CountedPart::Whole => "whole",
            CountedPart::Engine => "engine",
        };
        let mut file = OsString::from("--measure=");
        file.push(&records.file);
        [
            file,
            format!("--table={}", records.table).into(),
            format!("--kind={kind}").into(),
            format!("--tasks={tasks}").into(),
            format!("--part={part}").into(),
            format!("--check-ins={check_ins}").into(),
        ]
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
    pub(super) fn of_each(self, check_ins: u32) -> Self {
        let each = |sum: f64| sum / f64::from(check_ins);
        Self {
            calls: each(self.calls),
            read_units: each(self.read_units),
            write_units: each(self.write_units),
        }
    }
}

/// Returns the name of the function while which valgrind counts.
pub(super) const fn function_of(part: CountedPart) -> &'static str {
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

/// Lets the device check in, and prints its use of the table.
pub(crate) fn measure(file: PathBuf, args: MeasureArgs) -> io::Result<()> {
    let (Some(table), Some(kind), Some(tasks), Some(check_ins)) =
        (args.table, args.kind, args.tasks, args.check_ins)
    else {
        return Err(io::Error::other("the arguments belong together"));
    };
    // One thread: valgrind counts while this thread is in the function.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let engine = runtime.block_on(Engine::start(EngineStorage::File(file)));
    let engine = engine.map_err(io::Error::other)?;
    let counted = Arc::new(CountedEngine {
        engine: engine.service_of_function(),
        phase: Mutex::new(Phase::Warm),
    });
    let service: Arc<dyn TableService> = Arc::clone(&counted) as _;
    let records = Records::in_process(service, &table, &engine.endpoint());
    let function = CheckInFunction::new(records, settings());
    let peer = peer(kind, tasks);
    runtime.block_on(settle(&function, &peer, tasks));
    let requests = || (0..check_ins).map(|_| peer.check_in(&[], NOW)).collect();
    let mut requests: [Vec<Request<Bytes>>; 3] = [requests(), requests(), requests()];
    let mut answer = |number: usize| {
        for request in requests[number].drain(..) {
            let response = runtime.block_on(function.handle(request, NOW));
            assert!(response.status().is_success(), "{response:?}");
        }
    };
    answer(0);
    counted.begin(Phase::Counted);
    counted_check_ins(&mut || answer(1));
    counted.begin(Phase::Metered(Usage::default()));
    answer(2);
    let Phase::Metered(usage) = counted.begin(Phase::Warm) else {
        unreachable!("the last phase meters");
    };
    let used = TableUse::of(&usage);
    writeln!(io::stdout(), "{}", serde_json::to_string(&used)?)
}
