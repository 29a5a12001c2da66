//! Packages in a bucket: publication, interruption, completion and installation.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use packcast_testing::bucket::{LOCALSTACK, MINISTACK, TestBucket};
use packcast_testing::policy::Policy;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::front::{Front, Passed};
use packcast_tests::process::{Process, Ran, eventually, text};
use packcast_tests::world::{PublishOutput, World};
use tokio::runtime::Runtime;

use crate::PROGRAM;

const ARCHIVE_BYTES: usize = 64 << 20;
const PUBLISH: [&str; 10] = [
    "publish",
    "--target=cloud",
    "--name=big",
    "--version=1",
    "--action=launch",
    "--command=run.sh",
    "--fragment-size=256KiB",
    "--format=json",
    "--priority=1",
    "big.tar.gz",
];
const EXECUTE: [&str; 6] = [
    "publish",
    "--target=cloud",
    "--name=tool",
    "--version=1",
    "--action=execute",
    "--command=true",
];

/// Adds a target `cloud` to a world, with the world's table and a bucket at the address `s3`.
fn configure(world: &World, bucket: &str, s3: &str) {
    let state = world.state();
    let config = format!(
        "[target.cloud]\ntable = {:?}\nendpoint = {:?}\nregion = \"us-east-1\"\nbucket = {bucket:?}\n\
         s3_endpoint = {s3:?}\nca_file = {:?}\nkey_file = {:?}\n",
        state.table,
        state.endpoint,
        text(&state.ca_file),
        text(&world.local_dir().join("packcast.key")),
    );
    world.configure(&config);
}

/// Returns a location in front of a bucket, with a certificate that the world's agents trust.
fn location(world: &World, engine: SocketAddr) -> Front {
    Front::https(engine, world.server_identity())
}

/// Returns the paths of the fragments in PUT requests, in order.
fn puts(requests: &[Passed]) -> Vec<String> {
    let puts = requests.iter().filter(|request| request.method == "PUT");
    let paths = puts.map(|put| put.path.split('?').next().unwrap_or_default());
    let is_fragment = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    paths.filter(is_fragment).map(str::to_owned).collect()
}

/// Kills a publication after the bucket has stored some fragments, and waits until the open
/// requests are answered.
fn kill_half_way(world: &World, front: &Front) {
    let mut command = world.command(&PUBLISH);
    let publisher = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("fragments are stored", || {
        let stored = |put: &&Passed| put.method == "PUT" && put.status == Some(200);
        (front.requests().iter().filter(stored).count() > 8).then_some(())
    });
    publisher.kill();
    eventually("nothing is under way", || {
        let requests = front.requests();
        requests
            .iter()
            .all(|request| request.status.is_some())
            .then_some(())
    });
}

fn an_interrupted_publication_is_completed_and_installed(bucket: &TestBucket, runtime: &Runtime) {
    let world = World::start(PROGRAM);
    let front = Front::under(Policy::of_publisher(), bucket.engine);
    let address = front.address();
    configure(&world, &bucket.name, &format!("http://{address}"));
    let edge = location(&world, bucket.engine);
    let at = format!("{}/{}", edge.address(), bucket.name);
    world.ok(&["location", "add", "bucket", &at]);
    let device = world.device("pc");
    let script: &[u8] = b"#!/bin/sh\n";
    let archive = tar_gz(&[("run.sh", script), ("noise", &noise(2, ARCHIVE_BYTES))]);
    world.file("big.tar.gz", &archive);

    kill_half_way(&world, &front);
    let named = |path: String| format!("/{}/{path}", bucket.name);
    let stored: BTreeSet<String> = runtime
        .block_on(bucket.paths())
        .into_iter()
        .map(named)
        .collect();
    assert_eq!(world.progress("big@1").state, "draft");
    let before = front.requests().len();

    let ran = Ran::of(&mut world.command(&PUBLISH)).expect_code(0);
    let publication: PublishOutput = serde_json::from_str(&ran.stdout).unwrap();
    assert!(publication.resumed);
    let fragments = publication.package.published().unwrap().fragments as usize;
    assert_eq!(publication.kept.fragments as usize, stored.len());
    let message = format!("{} of {fragments} fragments", stored.len());
    assert!(ran.stderr.contains(&message), "{}", ran.stderr);
    let put = puts(&front.requests()[before..]);
    let uploaded: BTreeSet<String> = put.iter().cloned().collect();
    assert!(
        !stored.is_empty() && !uploaded.is_empty(),
        "killed half-way"
    );
    assert_eq!(put.len(), uploaded.len(), "a fragment was put twice");
    assert!(uploaded.is_disjoint(&stored), "a stored fragment was put");
    assert_eq!(uploaded.len() + stored.len(), fragments);

    world.ok(&["activate", "big@1", "--target=cloud", "--location=bucket"]);
    world.assign("big@1", &device);
    let probes = edge.requests().len();
    device.run();
    assert_eq!(world.progress("big@1").succeeded, 1);
    assert!(edge.requests().len() - probes > fragments);
}

/// The owner of the bucket replaces a fragment that an interrupted publication has stored.
fn a_replaced_fragment_is_not_published(bucket: &TestBucket, runtime: &Runtime) {
    let world = World::start(PROGRAM);
    let front = Front::under(Policy::of_publisher(), bucket.engine);
    configure(&world, &bucket.name, &format!("http://{}", front.address()));
    let script: &[u8] = b"#!/bin/sh\n";
    let archive = tar_gz(&[("run.sh", script), ("noise", &noise(2, ARCHIVE_BYTES))]);
    world.file("big.tar.gz", &archive);

    kill_half_way(&world, &front);
    let replaced = runtime.block_on(bucket.paths()).swap_remove(0);
    let before = front.requests().len();
    runtime.block_on(bucket.replace(&replaced, vec![7; 256 << 10].into()));
    let refusal = world.refused(3, &PUBLISH);
    let error = format!("cannot write object {replaced}: it exists with other content");
    assert!(refusal.contains(&error), "{refusal}");
    assert!(
        refusal.contains("find out who can write to the store"),
        "{refusal}"
    );
    assert_eq!(world.progress("big@1").state, "draft");
    // Only the replaced fragment was read.
    let is_read = |request: &&Passed| request.method == "GET" && request.path.contains("/d/");
    let requests = front.requests();
    let mut reads = requests[before..].iter().filter(is_read);
    assert!(
        reads.all(|read| read.path.contains(&replaced)),
        "{requests:#?}"
    );
}

fn a_busy_bucket_is_retried(bucket: &TestBucket, runtime: &Runtime) {
    let world = World::start(PROGRAM);
    let front = Front::http(bucket.engine);
    configure(&world, &bucket.name, &format!("http://{}", front.address()));
    front.refuse(2);
    world.ok(&EXECUTE);
    let refused = |request: &&Passed| request.status == Some(503);
    assert_eq!(front.requests().iter().filter(refused).count(), 2);
    assert_eq!(
        runtime.block_on(bucket.paths()).len(),
        3,
        "manifest, signature and info"
    );
}

fn an_error_names_a_bucket_that_does_not_exist(bucket: &TestBucket, _: &Runtime) {
    let world = World::start(PROGRAM);
    configure(
        &world,
        "no-such-bucket",
        &format!("http://{}", bucket.engine),
    );
    let refusal = world.refused(1, &EXECUTE);
    assert!(
        refusal.contains("bucket no-such-bucket at http://")
            && refusal.contains("does not exist: deploy the stack"),
        "{refusal}"
    );
}

/// Runs a story on an engine, unless the engine is missing.
fn on(engine: &str, story: fn(&TestBucket, &Runtime)) {
    let runtime = Runtime::new().unwrap();
    if let Some(bucket) = runtime.block_on(TestBucket::on(engine)) {
        story(&bucket, &runtime);
    }
}

/// Turns each story into a test on every engine.
macro_rules! on_each_engine {
    ($($story:ident)+) => {
        mod localstack {
            $(
                #[test]
                fn $story() {
                    super::on(super::LOCALSTACK, super::$story);
                }
            )+
        }
        mod ministack {
            $(
                #[test]
                fn $story() {
                    super::on(super::MINISTACK, super::$story);
                }
            )+
        }
    };
}

on_each_engine! {
    an_interrupted_publication_is_completed_and_installed
    a_replaced_fragment_is_not_published
    a_busy_bucket_is_retried
    an_error_names_a_bucket_that_does_not_exist
}

/// Returns an address of loopback on which nothing answers. A free port could become the port of
/// another test.
fn closed() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

#[test]
fn a_bucket_that_stays_busy_exits_with_try_later() {
    let world = World::start(PROGRAM);
    let front = Front::http(closed());
    front.refuse(usize::MAX);
    configure(&world, "objects", &format!("http://{}", front.address()));
    let refusal = world.refused(75, &EXECUTE);
    assert!(
        refusal.contains("is not available now") && refusal.contains("same command again"),
        "{refusal}"
    );
}

#[test]
fn an_unreachable_bucket_exits_with_try_later() {
    let world = World::start(PROGRAM);
    let endpoint = format!("http://{}", closed());
    configure(&world, "objects", &endpoint);
    let refusal = world.refused(75, &EXECUTE);
    let message = format!("bucket objects at {endpoint} does not answer");
    assert!(refusal.contains(&message), "{refusal}");
}

#[test]
fn missing_credentials_have_a_hint() {
    let world = World::start(PROGRAM);
    // An address that is never assigned (RFC 5737); without credentials no request is sent.
    configure(&world, "objects", "http://192.0.2.1:4566");
    let mut command = world.command(&EXECUTE);
    let ran = Ran::of(command.env("AWS_EC2_METADATA_DISABLED", "true")).expect_code(1);
    assert!(
        ran.stderr
            .contains("needs valid AWS credentials: check the profile"),
        "{ran:#?}"
    );
}

#[test]
fn a_target_has_a_bucket_or_a_directory() {
    let world = World::start(PROGRAM);
    configure(&world, "objects", "http://127.0.0.1:1");
    let config = fs::read_to_string(world.config_file()).unwrap();
    world.configure(&(config + "directory = \"objects\"\n"));
    let refusal = world.refused(2, &EXECUTE);
    assert!(
        refusal.contains("cannot use target \"cloud\": it has both a bucket and a directory"),
        "{refusal}"
    );
}
