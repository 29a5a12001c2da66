//! Agents that cannot run here, played from the transcripts in `protocol/tests/golden/ocs`:
//! each request in the form that its agent sends, each reply in the form that it needs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};
use http::{Request, Response};
use packcast_protocol::ocs::envelope::{self, Coding};
use packcast_protocol::windows::Afterwards;
use packcast_protocol::{DeviceId, WindowsTerms};
use packcast_store::records::Reservation;
use packcast_testing::table::{NOW, reservation};

use crate::system::TestSystem;

/// A request or a reply of a transcript.
#[derive(Debug)]
struct Message {
    coding: String,
    head: Vec<String>,
    body: String,
}

fn folder(agent: &str) -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .join("../../protocol/tests/golden/ocs")
        .join(agent)
}

/// Returns the names of an agent's exchanges, in order.
fn names(agent: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(agent)).expect("the folder is part of the repository");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the folder can be listed").file_name())
        .map(|name| name.into_string().expect("its names are ASCII"))
        .collect();
    names.sort();
    names
}

/// Reads the request and the reply of a transcript.
fn transcript(agent: &str, name: &str) -> [Message; 2] {
    let path = folder(agent).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = text
        .strip_prefix("=== request: ")
        .expect("it begins with a request");
    let (request, reply) = text.split_once("=== reply: ").expect("a reply follows");
    [request, reply].map(|section| {
        let (coding, message) = section.split_once('\n').expect("a coding has its line");
        let (head, body) = message
            .split_once("\n\n")
            .expect("an empty line ends a head");
        Message {
            coding: coding.to_owned(),
            head: head.lines().map(str::to_owned).collect(),
            body: body.to_owned(),
        }
    })
}

/// Encodes a body as its agent does.
fn coded(coding: &str, body: &str) -> Vec<u8> {
    match coding {
        "nothing" | "plain" => body.as_bytes().to_vec(),
        "zlib" => envelope::seal(Coding::Zlib, body.as_bytes()),
        "zlib without an end" => unfinished_zlib(body.as_bytes()),
        "gzip" => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(body.as_bytes())
                .expect("memory can be written");
            gzip.finish().expect("memory can be written")
        }
        other => panic!("no agent uses the coding {other:?}"),
    }
}

/// Compresses as a Windows agent does: block by block, without an end.
pub(crate) fn unfinished_zlib(content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 32 << 10;
    let mut compress = Compress::new(Compression::default(), true);
    let mut stream = Vec::with_capacity(content.len() + BLOCK);
    for block in content.chunks(BLOCK) {
        compress
            .compress_vec(block, &mut stream, FlushCompress::Sync)
            .expect("memory can be written");
    }
    assert!(stream.ends_with(&[0, 0, 0xFF, 0xFF]));
    stream
}

fn request(message: &Message) -> Request<Bytes> {
    let (line, headers) = message.head.split_first().expect("a head has a first line");
    let mut words = line.split(' ');
    let mut request = Request::builder()
        .method(words.next().expect("a method"))
        .uri(words.next().expect("a target"));
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a header has a value");
        request = request.header(name, value);
    }
    let body = coded(&message.coding, &message.body);
    request.body(body.into()).expect("a request")
}

fn compare(name: &str, response: &Response<Bytes>, expected: &Message) {
    let (status, headers) = expected.head.split_first().expect("a reply has a status");
    assert_eq!(response.status().as_str(), status, "{name}");
    for header in headers {
        let (field, value) = header.split_once(": ").expect("a header has a value");
        assert_eq!(response.headers()[field], value, "{name}");
    }
    assert!(!response.headers().contains_key("content-encoding"));
    let body = response.body();
    let body = match expected.coding.as_str() {
        "nothing" | "plain" => body.to_vec(),
        coding => {
            let (found, content) = envelope::open(body).expect(name);
            assert_eq!(format!("{found:?}").to_lowercase(), coding, "{name}");
            // An incomplete stream would open as well, so the whole body is compared.
            assert_eq!(*body, envelope::seal(found, &content), "{name}");
            content
        }
    };
    let body = String::from_utf8(body).expect(name);
    assert_eq!(body, expected.body, "{name}");
}

impl TestSystem {
    async fn play(&self, agent: &str, name: &str) {
        let [asked, expected] = transcript(agent, name);
        let response = self.function.handle(request(&asked), NOW).await;
        compare(&format!("{agent}/{name}"), &response, &expected);
    }

    async fn play_all(&self, agent: &str, names: &[String]) {
        for name in names {
            self.play(agent, name).await;
        }
    }
}

#[tokio::test]
pub(crate) async fn a_windows_agent_is_served() {
    let system = TestSystem::start().await;
    let names = names("windows");
    system.play_all("windows", &names[..3]).await;
    let device: DeviceId = "ocs:PC42-2026-03-04-05-06-07".parse().unwrap();
    let nightly = system
        .publish(&Reservation {
            windows: WindowsTerms {
                schedule: Some("2026/12/01 22:00".parse().unwrap()),
                afterwards: Some(Afterwards::Reboot),
                ..WindowsTerms::default()
            },
            ..reservation("nightly", 5)
        })
        .await;
    let soon = system.publish(&reservation("soon", 1)).await;
    for package in [&nightly, &soon] {
        system.assign(&device, package, false).await;
    }
    system.play_all("windows", &names[3..]).await;
    assert_eq!(system.counts(soon.id).await, [0, 0, 1]);
    assert_eq!(system.counts(nightly.id).await, [0, 1, 0]);
    let device_state = system.table.records.device_state(&device).await.unwrap();
    let record = device_state.device.unwrap();
    assert_eq!(record.agent, "OCS-NG_WINDOWS_AGENT_v2.11.0.1");
    assert_eq!(record.os, "Microsoft Windows 11 Professionnel");
}

#[tokio::test]
pub(crate) async fn an_android_agent_is_served() {
    let system = TestSystem::start().await;
    let names = names("android");
    system.play_all("android", &names[..2]).await;
    let device: DeviceId = "ocs:phone-7-2026-03-04-05-06-07".parse().unwrap();
    let package = system.publish(&reservation("vlc", 5)).await;
    system.assign(&device, &package, false).await;
    system.play_all("android", &names[2..]).await;
    let code = system.code(&device, package.id).await;
    assert_eq!(code.as_deref(), Some("ERR_DOWNLOAD_PACK"));
}

#[tokio::test]
async fn a_macos_agent_is_served() {
    let system = TestSystem::start().await;
    let names = names("macos");
    system.play_all("macos", &names[..1]).await;
    let device: DeviceId = "ocs:mac-mini-2026-03-04-05-06-07".parse().unwrap();
    let package = system.publish(&reservation("vlc", 5)).await;
    system.assign(&device, &package, false).await;
    system.play_all("macos", &names[1..]).await;
    let code = system.code(&device, package.id).await;
    assert_eq!(code.as_deref(), Some("SUCCESS_ALREADY_IN_HISTORY"));
}

/// Real inventories have several blocks, too.
#[tokio::test]
async fn an_unfinished_stream_of_many_blocks_is_read_completely() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    let software: String = (0..20_000)
        .map(|n| format!("<SOFTWARES><NAME>tool {n}</NAME></SOFTWARES>"))
        .collect();
    let inventory = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?><REQUEST><DEVICEID>pc1-2026-03-04-05-06-07</DEVICEID><CONTENT>{software}<DOWNLOAD><HISTORY><PACKAGE ID=\"{}\"/></HISTORY></DOWNLOAD></CONTENT><QUERY>INVENTORY</QUERY></REQUEST>",
        package.id
    );
    let reply = system.post(unfinished_zlib(inventory.as_bytes())).await;
    assert_eq!(reply.status.as_u16(), 200);
    assert!(reply.inflated().contains("NO_ACCOUNT_UPDATE"));
    let code = system.code(&device, package.id).await;
    assert_eq!(code.as_deref(), Some("SUCCESS_ALREADY_IN_HISTORY"));
}
