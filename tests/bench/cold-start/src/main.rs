//! Measures the cold start of the function, compared with a hello-world on the same runtime.
//!
//! Both programs are started in turn. For each, the output shows the time from its start to its
//! first request for work, its memory at that point, and the size of its archive. All three
//! programs are in the folder of `cargo lambda build`; `just cold-start` builds them.

mod measure;
mod runtime;

use std::io;
use std::path::PathBuf;

use crate::measure::{Start, median, zipped_bytes};
use crate::runtime::FakeRuntime;

/// Number of starts of each program.
const STARTS: usize = 50;

struct Function {
    name: &'static str,
    program: PathBuf,
    starts: Vec<Start>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let here = std::env::current_exe()?;
    let functions = here
        .ancestors()
        .nth(2)
        .expect("each program has its own folder");
    let mut functions = ["packcast-check-in", "hello"].map(|name| Function {
        name,
        program: functions.join(name).join("bootstrap"),
        starts: Vec::with_capacity(STARTS),
    });
    let runtime = FakeRuntime::listen().await?;
    for _ in 0..STARTS {
        for function in &mut functions {
            function
                .starts
                .push(runtime.start(&function.program).await?);
        }
    }
    print(&mut io::stdout(), &functions)
}

fn print(out: &mut impl io::Write, functions: &[Function; 2]) -> io::Result<()> {
    writeln!(out, "median of {STARTS} starts, in turn")?;
    writeln!(
        out,
        "{:<20} {:>10} {:>12} {:>12} {:>9}",
        "", "start, ms", "memory, MB", "binary, MB", "zip, MB"
    )?;
    for function in functions {
        let (milliseconds, megabytes) = medians(function);
        writeln!(
            out,
            "{:<20} {milliseconds:>10.2} {megabytes:>12.2} {:>12.2} {:>9.2}",
            function.name,
            in_megabytes(function.program.metadata()?.len()),
            in_megabytes(zipped_bytes(&function.program)?),
        )?;
    }
    let [check_in, hello] = functions.each_ref().map(medians);
    writeln!(
        out,
        "{:<20} {:>10.2} {:>12.2}",
        "ratio",
        check_in.0 / hello.0,
        check_in.1 / hello.1
    )
}

/// Returns the median time in milliseconds and the median memory in megabytes.
fn medians(function: &Function) -> (f64, f64) {
    let times = function.starts.iter().map(|start| start.time);
    let memory = function.starts.iter().map(|start| start.memory_bytes);
    (
        median(times).as_secs_f64() * 1000.0,
        in_megabytes(median(memory)),
    )
}

#[expect(clippy::cast_precision_loss, reason = "sizes of programs")]
fn in_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
