//! Kills the agent at each of its effects, and prints the final states of the devices.

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod matrix;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::io::Result<ExitCode> {
    matrix::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::io::Result<ExitCode> {
    use std::io::Write as _;
    let why = "skipped: the kill matrix needs Linux on x86_64";
    writeln!(std::io::stdout(), "{why}")?;
    Ok(ExitCode::SUCCESS)
}
