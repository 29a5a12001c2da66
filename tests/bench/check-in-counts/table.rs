//! The counts, as tables and as a figure.

use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};
use packcast_tests::figure::{Bar, Figure};

use crate::callgrind::{CallgrindCounts, Valgrind};
use crate::measured::{MAX_CHECK_INS, MeasureArgs, TableUse};
use crate::prepared::PreparedRecords;
use crate::tls::TlsPart;
use crate::{AgentKind, CheckInPart};

/// The counts of one check-in.
#[derive(Debug)]
pub(crate) struct CheckInCounts {
    kind: AgentKind,
    tasks: u32,
    function: CallgrindCounts,
    engine: CallgrindCounts,
    table: TableUse,
}

impl CheckInCounts {
    /// Counts check-ins of each kind with each number of open tasks.
    pub(crate) fn count(
        valgrind: &Valgrind<'_>,
        folder: &Path,
        kinds: &[AgentKind],
        open_tasks: &[u32],
    ) -> Vec<Self> {
        let records = PreparedRecords::create(folder, open_tasks);
        let kinds = kinds.iter();
        let rows = kinds.flat_map(|kind| open_tasks.iter().map(move |tasks| (*kind, *tasks)));
        rows.map(|(kind, tasks)| Self::of(valgrind, &records, kind, tasks))
            .collect()
    }

    fn of(valgrind: &Valgrind<'_>, records: &PreparedRecords, kind: AgentKind, tasks: u32) -> Self {
        // The first check-in is in both runs, so the difference has the others.
        let [whole, engine] = CheckInPart::ALL.map(|part| {
            let run = |check_ins| {
                let args = MeasureArgs {
                    records: records.clone(),
                    kind,
                    tasks,
                    part,
                    check_ins,
                };
                let name = format!("{kind}-{tasks}-{part}").to_lowercase();
                valgrind.count(&name, &args.words())
            };
            let ((one, _), (all, printed)) = (run(1), run(MAX_CHECK_INS));
            (all.without(one).of_each(MAX_CHECK_INS - 1), printed)
        });
        Self {
            kind,
            tasks,
            function: whole.0.without(engine.0),
            engine: engine.0,
            table: whole.1.parse().expect("the process prints its use"),
        }
    }
}

/// Returns a table in Markdown.
pub(crate) fn of_check_ins(counts: &[CheckInCounts]) -> Table {
    let mut table = table(&[
        "check-in",
        "open tasks",
        "instructions of the function",
        "of the engine",
        "allocations of the function",
        "of the engine",
        "table calls",
        "read units",
        "write units",
    ]);
    for counts in counts {
        let figures = [
            counts.tasks.to_string(),
            counts.function.instructions.to_string(),
            counts.engine.instructions.to_string(),
            counts.function.allocations.to_string(),
            counts.engine.allocations.to_string(),
            counts.table.calls.to_string(),
            counts.table.read_units.to_string(),
            counts.table.write_units.to_string(),
        ];
        add(&mut table, &counts.kind.to_string(), figures);
    }
    table
}

/// Returns a table in Markdown.
pub(crate) fn of_tls(counts: &[(TlsPart, CallgrindCounts)]) -> Table {
    let mut table = table(&["TLS of the edge", "instructions of the server"]);
    for (part, counts) in counts {
        let figures = [counts.instructions.to_string()];
        add(&mut table, &part.to_string(), figures);
    }
    table
}

/// Returns the instructions of each part.
pub(crate) fn figure(check_ins: &[CheckInCounts], tls: &[(TlsPart, CallgrindCounts)]) -> Figure {
    let bar =
        |name: &str, counts: &CallgrindCounts| Bar::ours(name, std::iter::once(counts.thousands()));
    let figure = Figure::new(
        "check-in-instructions",
        "Instructions of a check-in without news",
        "thousands, less is better",
    )
    .note("counted by valgrind, so other load of the machine hardly matters".to_owned());
    let figure = check_ins.iter().fold(figure, |figure, counts| {
        let heading = format!("{}, {} open tasks", counts.kind, counts.tasks);
        let bars = vec![
            bar("function", &counts.function),
            bar("engine", &counts.engine),
        ];
        figure.group(&heading, bars)
    });
    let bars = tls.iter();
    let bars = bars.map(|(part, counts)| bar(&part.to_string(), counts));
    figure.group("TLS", bars.collect())
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(heads.to_vec());
    table
}

fn add<const N: usize>(table: &mut Table, name: &str, figures: [String; N]) {
    let figures = figures.map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
    table.add_row(std::iter::once(Cell::new(name)).chain(figures));
}
