//! Imports from an OCS server with many rows, and prints times, units and requests.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use packcast_protocol::Md5Digest;
use packcast_tests::archives::tar_gz;
use packcast_tests::front::Front;
use packcast_tests::measure::load;
use packcast_tests::ocs_server::{OcsServer, import};
use packcast_tests::process::text;
use packcast_tests::world::World;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

/// The name of the target whose requests are metered.
const TARGET: &str = "metered";

/// Import from an OCS server with many rows, to the engine of packcast local
///
/// Each device is in one group and has results, and each group has five packages. The command fails if
/// the import leaves something out, or if a second import is not empty.
#[derive(Parser)]
#[command(bin_name = "just bench-import")]
struct Args {
    /// Number of packages, each with an archive of one fragment
    #[arg(long, default_value_t = 1_000)]
    packages: u32,
    /// Number of groups
    #[arg(long, default_value_t = 200)]
    groups: u32,
    /// Number of devices
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Number of results of each device
    #[arg(long, default_value_t = 5)]
    results: u32,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = io::stdout();
    let folder = tempfile::tempdir()?;
    let Some(server) = OcsServer::start_with(folder.path().join("ocs"), args.devices) else {
        writeln!(out, "run 'tests/bench/ocs-server install' first")?;
        return Ok(ExitCode::FAILURE);
    };
    fill(&server, &args)?;
    let measured = Measured::start(server);
    writeln!(
        out,
        "{} packages, {} groups, {} devices, {} results; {}",
        args.packages,
        args.groups,
        args.devices,
        u64::from(args.devices) * u64::from(args.results),
        load(),
    )?;
    let mut is_good = true;
    for (name, options) in [
        ("dry run", &["--dry-run"][..]),
        ("import", &["--yes"]),
        ("second import", &["--yes"]),
        ("comparison", &["--compare"]),
    ] {
        let (code, result, figures) = measured.run(options);
        writeln!(out, "  {name:<14} {figures}")?;
        if code != 0 {
            writeln!(out, "  failed: {}", result["left_out"])?;
            is_good = false;
        }
        if name == "second import" && result["commit"] != Value::Null {
            writeln!(out, "  failed: the second import has a commit")?;
            is_good = false;
        }
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Replaces the rows of the server, which have ten packages for each device.
fn fill(server: &OcsServer, args: &Args) -> io::Result<()> {
    let Args {
        packages,
        groups,
        devices,
        results,
        ..
    } = args;
    server.sql(&format!(
        "DELETE FROM devices; DELETE FROM download_enable; DELETE FROM download_available;
         INSERT INTO download_available (FILEID, NAME, PRIORITY, FRAGMENTS, SIZE, OSNAME, COMMENT)
           SELECT 1700000000 + seq, CONCAT('package', seq, ' 1.0'), 5, 1, 0, 'LINUX', '' FROM seq_1_to_{packages};
         INSERT INTO download_enable (ID, FILEID, INFO_LOC, PACK_LOC)
           SELECT seq, 1700000000 + seq, 'localhost', 'localhost' FROM seq_1_to_{packages};
         INSERT INTO hardware (ID, DEVICEID, NAME)
           SELECT 10000000 + seq, '_SYSTEMGROUP_', CONCAT('Group ', seq) FROM seq_1_to_{groups};
         INSERT INTO `groups` (HARDWARE_ID, REQUEST) SELECT 10000000 + seq, '' FROM seq_1_to_{groups};
         INSERT INTO groups_cache (GROUP_ID, HARDWARE_ID, STATIC)
           SELECT 10000001 + seq % {groups}, seq, 1 FROM seq_1_to_{devices};
         INSERT INTO devices (HARDWARE_ID, NAME, IVALUE)
           SELECT 10000000 + g.seq, 'DOWNLOAD', 1 + (g.seq * 5 + p.seq) % {packages}
             FROM seq_1_to_{groups} g, seq_1_to_5 p;
         INSERT INTO devices (HARDWARE_ID, NAME, IVALUE, TVALUE)
           SELECT d.seq, 'DOWNLOAD', 1 + (d.seq + p.seq * 7) % {packages},
               IF(d.seq % 10, 'SUCCESS', 'ERR_EXECUTE')
             FROM seq_1_to_{devices} d, seq_1_to_{results} p"
    ));
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\nexit 0\n")]);
    let digest = Md5Digest::of(&archive).to_string();
    for number in 1..=*packages {
        let id = 1_700_000_000 + number;
        let folder = server.downloads().join(id.to_string());
        fs::create_dir(&folder)?;
        fs::write(folder.join(format!("{id}-1")), &archive)?;
        let mut info = format!("<DOWNLOAD ID=\"{id}\" PRI=\"5\" ACT=\"LAUNCH\" NAME=\"run.sh\"");
        let rest = "DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\" FRAGS=\"1\"";
        let written = write!(info, " DIGEST=\"{digest}\" {rest} />");
        written.expect("writing into memory succeeds");
        fs::write(folder.join("info"), info)?;
    }
    Ok(())
}

/// A system whose commands reach the table through a meter.
struct Measured {
    world: World,
    server: OcsServer,
    meter: Front,
}

impl Measured {
    fn start(server: OcsServer) -> Self {
        let world = World::start(PROGRAM);
        let engine = world.state().endpoint.strip_prefix("http://");
        let engine = engine.and_then(|address| address.parse().ok());
        let meter = Front::metered(engine.expect("the engine is on loopback"));
        let target = world.target_at(TARGET, &format!("http://{}", meter.address()));
        let ca_file = text(&world.state().ca_file);
        world.configure(&format!("{target}ca_file = {ca_file:?}\n"));
        Self {
            world,
            server,
            meter,
        }
    }

    /// Runs an import. Returns its exit code, its result and its figures.
    fn run(&self, options: &[&str]) -> (i32, Value, String) {
        self.meter.take_usage();
        let (database, downloads) = (self.server.database(), self.server.downloads());
        let from = ["--database", &database, "--downloads", text(&downloads)];
        let target = ["--target", TARGET];
        let begun = Instant::now();
        let (code, result) = import(&self.world, &[&from[..], &target, options].concat());
        let took = begun.elapsed().as_secs_f64();
        let usage = self.meter.take_usage();
        let figures = format!(
            "{took:>7.1} s {:>10.0} write units {:>10.0} read units {:>8} requests",
            usage.write_units,
            usage.read_units,
            usage.operations.len(),
        );
        (code, result, figures)
    }
}
