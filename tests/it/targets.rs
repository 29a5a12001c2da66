//! Errors of a target whose table does not answer as it should: they name the table and the next
//! step, and nothing is lost.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use packcast_tests::front::Front;
use packcast_tests::process::{Ran, text};
use packcast_tests::world::World;

use crate::PROGRAM;

const EVERY: usize = usize::MAX;
const PUBLISH: [&str; 7] = [
    "publish",
    "--name=tool",
    "--version=1",
    "--action=execute",
    "--command=true",
    "--target=far",
    "--format=json",
];

/// A world with a target `far`, to which requests can be refused.
struct FarTarget {
    world: World,
    /// The proxy between the commands and the table.
    front: Front,
}

impl FarTarget {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let engine = world.state().endpoint.clone();
        let engine = engine.strip_prefix("http://").unwrap();
        let engine: SocketAddr = engine.parse().unwrap();
        let front = Front::http(engine);
        let story = Self { world, front };
        let endpoint = story.endpoint();
        story.configure(&format!("endpoint = {endpoint:?}"));
        story
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// Writes the configuration of the target `far`.
    fn configure(&self, lines: &str) {
        let state = self.world.state();
        let table = if lines.contains("table =") {
            String::new()
        } else {
            format!("table = {:?}\n", state.table)
        };
        let config = format!(
            "[target.far]\n{table}{lines}\ndirectory = {:?}\nkey_file = {:?}\n",
            text(&state.objects_dir),
            text(&self.world.local_dir().join("packcast.key")),
        );
        self.world.configure(&config);
    }

    /// Expects that the table of `far` cannot be read, with these words in the message.
    fn refused(&self, code: i32, words: &[&str]) {
        self.refused_with(code, &[], words);
    }

    fn refused_with(&self, code: i32, environment: &[(&str, &str)], words: &[&str]) {
        let mut command = self.world.command(&["list", "--target=far"]);
        command.envs(environment.iter().copied());
        let refusal = Ran::of(&mut command).expect_code(code);
        assert_eq!(refusal.stdout, "");
        for word in words {
            let message = &refusal.stderr;
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
}

/// Returns the body of a refusal by DynamoDB.
fn refusal(code: &str, message: &str) -> String {
    format!(r#"{{"__type":"com.amazon.coral.service#{code}","message":"{message}"}}"#)
}

#[test]
fn an_error_names_a_table_that_does_not_exist() {
    let story = FarTarget::begin();
    let endpoint = story.endpoint();
    story.configure(&format!("table = \"absent\"\nendpoint = {endpoint:?}"));
    let words = ["table absent", &endpoint, "deploy the stack", "region"];
    story.refused(1, &words);
}

#[test]
fn missing_credentials_and_a_missing_region_have_different_errors() {
    let story = FarTarget::begin();
    // Disables requests to the address at which clouds serve credentials.
    let nothing = [("AWS_EC2_METADATA_DISABLED", "true")];
    story.configure("table = \"packages\"\nregion = \"eu-west-1\"");
    let words = ["table packages", "eu-west-1", "AWS credentials", "profile"];
    story.refused_with(1, &nothing, &words);

    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    story.configure("table = \"packages\"");
    let words = ["table packages", "target's region", "AWS_REGION"];
    story.refused_with(1, &[&nothing[..], &keys].concat(), &words);
}

#[test]
fn credentials_are_found_as_the_aws_cli_finds_them() {
    let story = FarTarget::begin();
    let profile = |lines: &str| {
        let file = story.world.directory().join("aws");
        let sso =
            "[sso-session ours]\nsso_region = eu-west-1\nsso_start_url = https://sso.invalid\n";
        fs::write(
            &file,
            format!("{sso}[default]\nregion = eu-west-1\n{lines}\n"),
        )
        .unwrap();
        text(&file).to_owned()
    };
    let with = |file: &str| {
        let mut command = story.world.command(&["list", "--target=far"]);
        command
            .env("AWS_CONFIG_FILE", file)
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Ran::of(&mut command)
    };
    // Another name of loopback, for which the SDK looks for credentials.
    let port = story.front.address().port();
    story.configure(&format!("endpoint = \"http://0.0.0.0:{port}\""));
    let keys = r#"{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret"}"#;
    let program = profile(&format!("credential_process = echo '{keys}'"));
    let _ = with(&program).expect_code(0);
    for signed_out in [
        "sso_session = ours\nsso_account_id = 123456789012\nsso_role_name = admin",
        "login_session = arn:aws:iam::123456789012:user/admin",
    ] {
        let refusal = with(&profile(signed_out)).expect_code(1).stderr;
        assert!(refusal.contains("sign in again"), "{refusal}");
        assert!(!refusal.contains("cargo feature"), "{refusal}");
    }
}

#[test]
fn a_refusal_of_the_service_is_shown_with_the_next_step() {
    let story = FarTarget::begin();
    let endpoint = story.endpoint();
    let signature = "InvalidSignatureException";
    for (code, message, words) in [
        (
            signature,
            "Credential should be scoped to a valid region, not 'eu-west-1'. ",
            ["another region", "target's region"],
        ),
        (
            signature,
            "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z",
            ["time of this machine", "correct its clock"],
        ),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            ["valid AWS credentials", "sign in again"],
        ),
        (
            "AccessDeniedException",
            "User: packcast is not authorized to perform: dynamodb:Query",
            ["denies", "permissions"],
        ),
        (
            "ResourceNotFoundException",
            "Requested resource not found",
            ["does not exist", "target's table and region"],
        ),
    ] {
        let refusal = refusal(code, message);
        story.front.refuse_with(EVERY, 400, refusal);
        story.refused(1, &[&words[..], &[&endpoint, "table ", message]].concat());
    }
}

#[test]
fn an_answer_that_is_not_from_dynamodb_is_an_error() {
    let story = FarTarget::begin();
    let endpoint = story.endpoint();
    for status in [200, 404] {
        story.front.refuse_with(EVERY, status, "<html>");
        story.refused(
            1,
            &[
                &endpoint,
                "does not answer like DynamoDB",
                "target's endpoint",
            ],
        );
    }
}

#[test]
fn a_throttled_table_exits_with_try_later() {
    let story = FarTarget::begin();
    let throttling = refusal("ThrottlingException", "Rate exceeded");
    story.front.refuse_with(EVERY, 400, throttling);
    let endpoint = story.endpoint();
    story.refused(
        75,
        &[&endpoint, "too many requests", "run the command again"],
    );
}

#[test]
fn a_short_outage_is_not_noticed() {
    let story = FarTarget::begin();
    story.front.refuse_with(3, 503, "");
    let ran = story.world.ok(&PUBLISH);
    assert!(ran.stdout.contains("tool"), "{ran:#?}");
    assert_eq!(story.world.packages().len(), 1);
}

#[test]
fn a_longer_outage_loses_nothing_and_counts_nothing_twice() {
    let story = FarTarget::begin();
    let (world, device) = (&story.world, story.world.device("pc"));
    let _ = world.ok(&PUBLISH);
    let _ = world.ok(&["activate", "tool@1"]);
    story.front.refuse_with(EVERY, 503, "");
    let endpoint = story.endpoint();
    story.refused(75, &[&endpoint, "not available", "run the command again"]);
    let assign = ["assign", "tool@1", "--device", device.id(), "--target=far"];
    for command in [&PUBLISH[..], &assign] {
        let refusal = world.refused(75, command);
        assert!(refusal.contains("nothing is lost"), "{refusal}");
    }
    assert_eq!(world.progress("tool@1").assigned, 0);

    story.front.refuse_with(0, 503, "");
    for _ in 0..2 {
        let _ = world.ok(&PUBLISH);
        let _ = world.ok(&assign);
    }
    assert_eq!(world.packages().len(), 1);
    assert_eq!(world.progress("tool@1").assigned, 1);
}

#[test]
fn an_error_names_an_unreachable_service() {
    let story = FarTarget::begin();
    // Nothing listens on port 1.
    story.configure("endpoint = \"http://127.0.0.1:1\"");
    story.refused(75, &["table ", "http://127.0.0.1:1", "network", "endpoint"]);
    story.configure("endpoint = \"http://dynamodb.eu-wset-1.invalid\"\nregion = \"eu-wset-1\"");
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    story.refused_with(75, &keys, &["eu-wset-1", "region"]);
}

#[test]
fn requests_to_the_table_go_through_the_proxy_of_the_environment() {
    let story = FarTarget::begin();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let asked = thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        // The proxy refuses, so that the test asks nobody else.
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
        drop(proxy);
        line
    });
    story.configure("table = \"packages\"\nregion = \"eu-central-1\"");
    let mut command = story.world.command(&["list", "--target", "far"]);
    command
        .env("HTTPS_PROXY", format!("http://user:secret@{address}"))
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .env("AWS_SECRET_ACCESS_KEY", "nothing");
    let ran = Ran::of(&mut command).expect_code(75);
    let line = asked.join().unwrap();
    assert!(
        line.starts_with("CONNECT dynamodb.eu-central-1.amazonaws.com:443 "),
        "{line}"
    );
    let hint = format!("check the proxy {address}");
    assert!(ran.stderr.contains(&hint), "{ran:?}");
    assert!(!ran.stderr.contains("secret"), "{ran:?}");

    // The local system is not asked through the proxy, which is gone now.
    let mut local = story.world.command(&["list"]);
    let local = local.env("HTTPS_PROXY", format!("http://{address}"));
    let _ = Ran::of(local.env("HTTP_PROXY", format!("http://{address}"))).expect_code(0);
}

/// Returns the commands between single quotes.
fn suggested(output: &str) -> Vec<&str> {
    let parts = output.split('\'').skip(1).step_by(2);
    parts.filter(|part| part.starts_with("packcast ")).collect()
}

#[test]
fn changes_name_their_target_and_a_next_command_for_it() {
    let story = FarTarget::begin();
    let ca_file = text(&story.world.state().ca_file).to_owned();
    let endpoint = story.endpoint();
    story.configure(&format!("endpoint = {endpoint:?}\nca_file = {ca_file:?}"));
    let id = story.world.device("pc").id().to_owned();
    let publish = "publish --name tool --version 1 --action execute --command true";
    let lines = [
        publish.to_owned(),
        "activate tool@1".to_owned(),
        "group create lab".to_owned(),
        format!("group add lab --device {id}"),
        "group prefer lab --location local".to_owned(),
        "group pacing lab --strict".to_owned(),
        "assign tool@1 --group lab".to_owned(),
        format!("assign tool@1 --device {id}"),
        format!("unassign tool@1 --device {id}"),
        format!("device pacing {id} --strict"),
        format!("device block {id}"),
        format!("device unblock {id}"),
        "unassign tool@1 --group lab".to_owned(),
        format!("group remove lab --device {id}"),
        "group delete lab".to_owned(),
        "deactivate tool@1".to_owned(),
        "delete tool@1 --unassign".to_owned(),
        "location add mirror mirror.example.net".to_owned(),
        "location remove mirror".to_owned(),
        format!("device remove {id}"),
        "sign".to_owned(),
        "keys rotate --unencrypted".to_owned(),
    ];
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let arguments = [&words[..], &["--target", "far"]].concat();
        let ran = story.world.ok(&arguments);
        assert!(ran.stderr.contains("target: far"), "{line}: {ran:#?}");
        let output = format!("{}\n{}", ran.stdout, ran.stderr);
        let next = suggested(&output);
        assert!(!next.is_empty(), "{line}: {ran:#?}");
        for command in next {
            assert!(command.contains("--target far"), "{line}: {command}");
        }
    }
}
