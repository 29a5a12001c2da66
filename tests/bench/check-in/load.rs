//! The load: `wrk` replays the recorded check-in of an OCS agent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use packcast_protocol::ocs::envelope;
use packcast_tests::process::{Ran, text};
use serde::Deserialize;

/// The recorded PROLOG of a Unix agent, and its DEVICEID.
const RECORDED: &str =
    include_str!("../../../protocol/tests/golden/captures/03-prolog-three-packages.req.xml");
const RECORDED_DEVICE: &str = "vm-2026-11-22-06-10-49";

/// The user agent that `prolog.lua` sends, too.
const AGENT: &str = "OCS-NG_unified_unix_agent_v2.10.0";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/check-in/prolog.lua");
/// Longer than the first check-ins of all devices take.
const AT_MOST_S: u32 = 3600;
/// Number of concurrent first check-ins.
const FIRST_CHECK_INS: u32 = 8;

/// The requests of all devices.
#[derive(Debug)]
pub(crate) struct Load {
    bodies: PathBuf,
    /// The request of the first device.
    first: PathBuf,
    /// The reply to that request.
    reply: PathBuf,
}

/// The result of one run of `wrk`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct WrkResult {
    pub(crate) requests: u32,
    /// The bytes of all replies, with their headers.
    pub(crate) bytes: u32,
    pub(crate) duration_us: u32,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
    /// Replies that were not 2xx.
    refused: u64,
    /// Number of connections and requests without a reply.
    broken: u64,
}

impl Load {
    /// Writes the requests of the devices `pc1` to `pc<count>` into a folder.
    pub(crate) fn of(count: u32, folder: &Path) -> Self {
        let mut all = Vec::new();
        let first = folder.join("first");
        for number in 1..=count {
            let device = format!("pc{number}-2026-03-04-05-06-07");
            let body = compressed(&RECORDED.replace(RECORDED_DEVICE, &device));
            if number == 1 {
                fs::write(&first, &body).expect("the folder is writable");
            }
            let length = u16::try_from(body.len()).expect("a PROLOG is short");
            all.extend(length.to_be_bytes());
            all.extend(body);
        }
        let bodies = folder.join("bodies");
        fs::write(&bodies, all).expect("the folder is writable");
        Self {
            bodies,
            first,
            reply: folder.join("reply"),
        }
    }

    /// Expects that the reply to a device announces this many packages, and asks for no inventory.
    pub(crate) fn expect_packages(&self, server: &str, packages: usize) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure"])
            .args(["--noproxy", "*", "--user-agent", AGENT])
            .args(["--header", "Content-Type: application/x-compress"])
            .args(["--data-binary", &format!("@{}", text(&self.first))])
            .args(["--output", text(&self.reply), server]);
        drop(Ran::of(&mut curl).expect_code(0));
        let reply = fs::read(&self.reply).expect("curl has written the reply");
        let (_, reply) = envelope::open(&reply).expect("the reply is compressed");
        let reply = String::from_utf8_lossy(&reply);
        let announced = reply.matches("TYPE=\"PACK\"").count();
        assert_eq!(announced, packages, "{server}: {reply}");
        assert!(!reply.contains(">SEND<"), "{server}: {reply}");
    }

    /// Lets every device check in for the first time.
    pub(crate) fn enrol(&self, server: &str) {
        self.wrk(server, "each", FIRST_CHECK_INS, AT_MOST_S);
    }

    /// Lets random devices check in for some seconds.
    pub(crate) fn run(&self, server: &str, connections: u32, seconds: u32) -> WrkResult {
        let output = self.wrk(server, "any", connections, seconds);
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Option<WrkResult> = text
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let found = found.unwrap_or_else(|| panic!("wrk printed no result: {text}"));
        assert_eq!((found.refused, found.broken), (0, 0), "{server}: {found:?}");
        assert_ne!(found.requests, 0, "{server} has answered no request");
        found
    }

    fn wrk(&self, server: &str, which: &str, connections: u32, seconds: u32) -> Output {
        let output = Command::new("wrk")
            .args(["--threads", "1", "--timeout", "30s", "--script", SCRIPT])
            .arg(format!("--connections={connections}"))
            .arg(format!("--duration={seconds}s"))
            .args([server, "--", which])
            .arg(&self.bodies)
            .output()
            .expect("wrk was found before");
        assert!(output.status.success(), "wrk at {server}: {output:?}");
        output
    }
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text.as_bytes())
        .expect("writing into memory succeeds");
    encoder.finish().expect("writing into memory succeeds")
}
