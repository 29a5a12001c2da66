//! Carries out every attack on a running system, and prints the answers of agent and publisher.
//!
//! Each attack has its own system: service, objects, table and device.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use packcast_tests::attacks::attacked_system::{AttackResult, AttackedSystem};
use packcast_tests::attacks::owned::POWERS;
use packcast_tests::attacks::{ALL, Attack};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// Number of characters of an answer that are printed.
const SHOWN: usize = 90;

/// Carry out every attack, and list the remaining powers of an attacker without a signing key
#[derive(Parser)]
#[command(bin_name = "just attacks")]
struct Args {
    /// Only attacks with this text in their names
    #[arg(default_value = "")]
    name: String,
    /// Passed by Cargo to every benchmark
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
        let result = attack.attempt(PROGRAM);
        succeeded += usize::from(!attack.is_refused(&result));
        print(&mut out, attack, &result)?;
    }
    writeln!(out, "\nattacks: {}, succeeded: {succeeded}", tried.len())?;
    if args.name.is_empty() {
        succeeded += remaining(&mut out)?;
    }
    Ok(ExitCode::from(u8::from(succeeded > 0)))
}

fn print(out: &mut impl io::Write, attack: &Attack, result: &AttackResult) -> io::Result<()> {
    let name = attack.name.replace('_', " ");
    let answer = result.answered.join("; ");
    let answer: String = answer.chars().take(SHOWN).collect();
    let effect = if result.is_harmless() && result.contains("SUCCESS_0") {
        "only the assigned package ran, no file outside changed".to_owned()
    } else if result.is_harmless() {
        "nothing ran, no file outside changed".to_owned()
    } else {
        format!(
            "SUCCEEDED: {} runs, written {:?}, leaked {:?}",
            result.ran, result.written, result.leaked
        )
    };
    let unexpected = if attack.is_refused(result) {
        ""
    } else {
        "  NOT AS EXPECTED"
    };
    writeln!(out, "{name}\n    {effect}: {answer}{unexpected}")
}

/// Carries out the actions of an attacker without a key, and prints which ones are possible.
///
/// Returns the number of possible actions that should be impossible.
fn remaining(out: &mut impl io::Write) -> io::Result<usize> {
    writeln!(
        out,
        "\nan attacker who controls objects, table and function, but has no signing key:"
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
        "    OCS agents verify no signatures: to them, such an attacker can do anything (not tried here)"
    )?;
    Ok(unexpected)
}
