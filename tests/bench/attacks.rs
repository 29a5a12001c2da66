//! Tries every attack on a running system, and prints what the agent answered.
//!
//! Each has a service, objects, a table and a device of its own.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::attacks::owned::POWERS;
use packcast_tests::attacks::attacked_system::{AttackedSystem, AttackResult};
use packcast_tests::attacks::{ALL, Attack};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// How much of an answer is printed, in characters.
const SHOWN: usize = 90;

/// Try every attack, and what remains to who owns all but a key
#[derive(Parser)]
#[command(bin_name = "just attacks")]
struct Args {
    /// Only those with this in their name
    #[arg(default_value = "")]
    name: String,
    /// Cargo says it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    let mut succeeded = 0;
    let tried: Vec<&Attack> = ALL
        .iter()
        .filter(|attack| attack.name.contains(&args.name))
        .collect();
    for attack in &tried {
        let found = attack.attempt(PROGRAM);
        succeeded += usize::from(!attack.is_refused(&found));
        tell(&mut out, attack, &found)?;
    }
    writeln!(out, "\nattacks: {}, succeeded: {succeeded}", tried.len())?;
    if args.name.is_empty() {
        succeeded += remaining(&mut out)?;
    }
    Ok(ExitCode::from(u8::from(succeeded > 0)))
}

fn tell(out: &mut impl io::Write, attack: &Attack, found: &AttackResult) -> io::Result<()> {
    let name = attack.name.replace('_', " ");
    let answer = found.answered.join("; ");
    let answer: String = answer.chars().take(SHOWN).collect();
    let came = if found.is_harmless() && found.contains("SUCCESS_0") {
        "only what was assigned ran, nothing was written outside".to_owned()
    } else if found.is_harmless() {
        "nothing ran, nothing was written outside".to_owned()
    } else {
        format!(
            "SUCCEEDED: ran {}, wrote {:?}, told others {:?}",
            found.ran, found.written, found.leaked
        )
    };
    let unexpected = if attack.is_refused(found) {
        ""
    } else {
        "  NOT AS EXPECTED"
    };
    writeln!(out, "{name}\n    {came}: {answer}{unexpected}")
}

/// Does what no signature prevents, and prints what could be done; returns how much of it
/// should not have been possible.
fn remaining(out: &mut impl io::Write) -> io::Result<usize> {
    writeln!(
        out,
        "\nwho owns objects, table and function at once, but no signing key:"
    )?;
    let mut unexpected = 0;
    for power in POWERS {
        let done = (power.act)(&AttackedSystem::new(PROGRAM));
        unexpected += usize::from(done && !power.remains);
        let can = if done { "can   " } else { "cannot" };
        writeln!(out, "    {can} {}", power.name)?;
    }
    writeln!(
        out,
        "    stock OCS agents check no signature: to them, such an attacker can do everything (not tried here)"
    )?;
    Ok(unexpected)
}
