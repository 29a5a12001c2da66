//! The agent as a service: the service manager, the local socket, and the commands that use it.
#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use packcast_protocol::PackageId;
use packcast_protocol::api::{BeginReply, HoldWord};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Package};
use crate::packages::{execute, package};

/// The longest wait for a message, after which a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running service, and the socket of its service manager.
pub(crate) struct Service {
    pub(crate) process: Child,
    /// The messages to the service manager.
    messages: Receiver<String>,
    log: Option<BufReader<ChildStderr>>,
}

impl Service {
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::start_with(lab, &[])
    }

    fn start_with(lab: &Lab, variables: &[(&str, &str)]) -> Self {
        Self::of(lab, &["run"], variables)
    }

    /// Starts a version as its starter does.
    pub(crate) fn version(lab: &Lab) -> Self {
        Self::of(lab, &["run", "--as", "kept"], &[])
    }

    fn of(lab: &Lab, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let address = lab.file("manager");
        let _ = std::fs::remove_file(&address);
        let manager = UnixDatagram::bind(&address).unwrap();
        let (sender, messages) = mpsc::channel();
        // The system keeps only a few messages that nobody has read, and the agent drops status lines then.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = manager.recv(&mut bytes) {
                let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut command = lab.command(arguments);
        command
            .stdin(Stdio::piped())
            .env("NOTIFY_SOCKET", &address)
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = process.stderr.take().map(BufReader::new);
        Self {
            process,
            messages,
            log,
        }
    }

    /// Starts a service, and waits until it has checked in.
    pub(crate) fn idle(lab: &Lab) -> Self {
        let service = Self::start(lab);
        service.tells("READY=1");
        service.tells("STATUS=Checked in");
        service
    }

    /// Returns the next message to the service manager.
    fn message(&self) -> String {
        self.messages.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a message that begins with `text`, and returns it.
    pub(crate) fn tells(&self, text: &str) -> String {
        let mut others = Vec::new();
        loop {
            let Ok(message) = self.messages.recv_timeout(PATIENCE) else {
                panic!("no message {text:?}, but {others:?}");
            };
            if message.starts_with(text) {
                return message;
            }
            others.push(message);
        }
    }

    /// Returns the messages that have arrived and were not read yet.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }

    /// Waits for a line of the log with this text.
    fn logs(&mut self, text: &str) -> String {
        let log = self.log.as_mut().unwrap();
        let mut lines = log.lines().map(Result::unwrap);
        lines.find(|line| line.contains(text)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Stops the service, and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A package whose program runs until [`Gate::open`].
struct Gate(PathBuf);

impl Gate {
    fn assign(lab: &Lab) -> (Self, PackageId) {
        let path = lab.file("go");
        let command = format!("until [ -e '{}' ]; do sleep 0.01; done", path.display());
        let id = lab.assign(execute(&command), package(1, None));
        (Self(path), id)
    }

    fn open(&self) {
        std::fs::write(&self.0, "").unwrap();
    }
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// Returns the text with times replaced, which differ in each run.
fn without_times(text: &str) -> String {
    let mut words = Vec::new();
    for line in text.lines() {
        let line = line.split(' ').map(|word| {
            let is_day = word.len() == 10 && word.starts_with("20") && word.as_bytes()[4] == b'-';
            let is_time = word.len() == 8 && word.as_bytes()[2] == b':';
            match (is_day, is_time) {
                (true, _) => "DAY",
                (_, true) => "TIME",
                _ => word,
            }
        });
        words.push(line.collect::<Vec<_>>().join(" "));
    }
    words.join("\n")
}

#[test]
fn the_service_manager_learns_readiness_work_and_end() {
    let lab = Lab::new();
    let (gate, _) = Gate::assign(&lab);
    let mut service = Service::start(&lab);
    assert_eq!(service.message(), "READY=1");
    let running = service.tells("STATUS=Deploying lab@1.0 (1795000001): running");
    service.signal(Signal::TERM);
    service.tells("STOPPING=1");
    let stopping = without_times(&format!("{running}\n{}", text_of_status(&lab)));
    insta::assert_snapshot!(stopping, @"
    STATUS=Deploying lab@1.0 (1795000001): running since DAY TIME UTC
    service: Stopping after the package under way: lab@1.0 (1795000001): running since DAY TIME UTC
    under way: lab@1.0 (1795000001): running since DAY TIME UTC
    ");
    gate.open();
    assert_eq!(service.process.wait().unwrap().code(), Some(0));
    assert!(!lab.state().join("socket").exists());
}

/// Returns the lines of `status` on the service.
fn text_of_status(lab: &Lab) -> String {
    let status = text(&lab.agent(&["status"]));
    let mut lines = status.lines();
    let of_service = lines.by_ref().filter(|line| {
        ["service", "under way", "error"]
            .iter()
            .any(|word| line.starts_with(word))
    });
    of_service.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_service_without_its_state_folder_is_not_ready() {
    let lab = Lab::new();
    let first = Service::idle(&lab);
    let mut second = Service::start(&lab);
    assert_eq!(second.process.wait().unwrap().code(), Some(1));
    assert_eq!(second.unread(), Vec::<String>::new());
    // The socket of the first one is untouched.
    assert!(ask(&lab, "{\"command\":\"status\"}\n").contains("activity"));
    assert_eq!(first.stop(), Some(0));
}

#[test]
fn an_agent_without_a_service_manager_needs_none() {
    let lab = Lab::new();
    let mut agent = lab.command(&["run"]);
    agent
        .env_remove("NOTIFY_SOCKET")
        .env("WATCHDOG_USEC", "2000");
    let mut agent = agent.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("checked in")));
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn a_sign_of_life_is_sent_while_a_program_runs() {
    let lab = Lab::new();
    let (gate, _) = Gate::assign(&lab);
    let service = Service::start_with(&lab, &[("WATCHDOG_USEC", "20000")]);
    service.tells("STATUS=Deploying lab@1.0 (1795000001): running");
    for _ in 0..3 {
        service.tells("WATCHDOG=1");
    }
    gate.open();
    service.tells("STATUS=Checked in");
    service.tells("WATCHDOG=1");
}

/// The journal of a package is a pipe, on which the loop waits.
#[test]
fn a_loop_that_hangs_sends_no_sign_of_life() {
    let lab = Lab::new();
    let service = Service::start_with(&lab, &[("WATCHDOG_USEC", "2000")]);
    service.tells("STATUS=Checked in");
    let folder = lab.state().join("packages/1795000009");
    std::fs::create_dir_all(&folder).unwrap();
    let journal = folder.join("journal");
    let made = Command::new("mkfifo").arg(&journal).status().unwrap();
    assert!(made.success());
    // While the test holds a writing end, the loop waits for data.
    let mut hold = OpenOptions::new();
    let hold = hold.read(true).write(true).open(&journal).unwrap();
    let mut asks = lab.command(&["check-in"]);
    let mut asks = asks.stdout(Stdio::null()).spawn().unwrap();
    // The status is that of the loop before it hangs. A worker of the runtime answers.
    let status = || ask(&lab, "{\"command\":\"status\"}\n");
    while !status().contains("\"is_working\":true") {}
    // Signs that were sent before the loop hung may arrive later.
    let is_silent = || {
        service.unread();
        for _ in 0..200 {
            status();
        }
        !service.unread().contains(&"WATCHDOG=1".to_owned())
    };
    assert!((0..50).any(|_| is_silent()), "the signs go on");
    // The loop goes on without the journal, and so do the signs.
    std::fs::remove_file(&journal).unwrap();
    drop(hold);
    service.tells("WATCHDOG=1");
    assert!(asks.wait().unwrap().success());
}

#[test]
fn a_reload_uses_the_new_configuration_at_once() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    let other = lab.other();
    assert_eq!(other.world().connections, 0);
    let before = std::fs::read_to_string(lab.file("agent.toml")).unwrap();
    let here = lab.edge.address.to_string();
    let after = before.replace(&here, &other.address.to_string());
    std::fs::write(lab.file("agent.toml"), &after).unwrap();
    other.world().statuses = [404].into();
    service.signal(Signal::HUP);
    service.tells("RELOADING=1");
    service.tells("READY=1");
    service.tells("STATUS=Check-in failed: the reply of https://");
    assert_eq!(other.world().connections, 1);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn an_invalid_configuration_is_logged_and_the_present_one_stays() {
    let lab = Lab::new();
    let mut service = Service::idle(&lab);
    std::fs::write(lab.file("agent.toml"), "server = 1").unwrap();
    service.signal(Signal::HUP);
    service.tells("RELOADING=1");
    service.tells("READY=1");
    let logged = service.logs("the present one stays");
    assert!(logged.contains("invalid configuration"), "{logged}");
    // The command reads the configuration, too, so the request is sent by hand.
    let replies = ask(&lab, "{\"command\":\"check-in\"}\n");
    assert!(replies.ends_with("{\"reply\":\"done\"}\n"), "{replies}");
    assert!(replies.contains("\"event\":\"checked_in\""), "{replies}");
}

#[test]
fn a_reload_with_another_state_folder_changes_nothing() {
    let lab = Lab::new();
    let mut service = Service::idle(&lab);
    let other = lab.other();
    let text = std::fs::read_to_string(lab.file("agent.toml")).unwrap();
    let state = lab.state().display().to_string();
    let elsewhere = lab.file("elsewhere").display().to_string();
    let text = text.replace(&state, &elsewhere);
    let here = lab.edge.address.to_string();
    let text = text.replace(&here, &other.address.to_string());
    std::fs::write(lab.file("agent.toml"), text).unwrap();
    service.signal(Signal::HUP);
    let logged = service.logs("the present one stays");
    assert!(logged.contains("state_dir changed: restart"), "{logged}");
    service.tells("READY=1");
    let reply = ask(&lab, "{\"command\":\"reload\"}\n");
    assert!(reply.starts_with("{\"reply\":\"failed\""), "{reply}");
    assert!(reply.contains("\"exit_code\":1"), "{reply}");
    // The next round is with the server from before.
    let replies = ask(&lab, "{\"command\":\"check-in\"}\n");
    assert!(replies.ends_with("{\"reply\":\"done\"}\n"), "{replies}");
    assert_eq!(other.world().connections, 0);
    assert!(!lab.file("elsewhere").exists());
}

/// Enrols with the trust line and the address of the lab, and further arguments.
fn enrol(lab: &Lab, trust: &str, arguments: &[&str]) -> Output {
    let server = format!("https://{}", lab.edge.address);
    let given = ["enrol", "--force", "--server", &server, "--trust", trust];
    lab.agent(&[&given, arguments].concat())
}

/// Returns the last line of an output.
fn last_line(lab: &Lab, output: &Output) -> String {
    let text = lab.anonymous(&text(output));
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn an_enrolment_that_needs_a_new_process_claims_no_success() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    let trust = lab.trust();
    let first = if trust.starts_with('b') { "c" } else { "b" };
    let trust = format!("{first}{}", &trust[1..]);
    // Twice, because the configuration is in place the second time.
    let [first, second] = [(), ()].map(|()| {
        let output = enrol(&lab, &trust, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        last_line(&lab, &output)
    });
    insta::assert_snapshot!(first, @"error: the running service does not use configuration LAB/agent.toml: trust changed: restart the service: systemctl restart packcast-agent");
    assert_eq!(first, second);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn no_second_identity_is_enrolled_beside_a_running_service() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    let before = std::fs::read_to_string(lab.file("agent.toml")).unwrap();
    let elsewhere = lab.file("elsewhere").display().to_string();
    let arguments = ["--state-dir", &elsewhere];
    let output = enrol(&lab, &lab.trust(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    insta::assert_snapshot!(last_line(&lab, &output), @"error: the agent service runs with state folder LAB/state: stop it with `systemctl stop packcast-agent`, and run the command again");
    let after = std::fs::read_to_string(lab.file("agent.toml")).unwrap();
    assert_eq!(after, before);
    assert!(!lab.file("elsewhere").exists());
    assert_eq!(service.stop(), Some(0));
    let output = enrol(&lab, &lab.trust(), &arguments);
    assert!(output.status.success(), "{}", text(&output));
}

/// Sends a text to the socket of the service, and returns the answer.
fn ask(lab: &Lab, request: &str) -> String {
    let mut stream = UnixStream::connect(lab.state().join("socket")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The service may answer before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn only_known_short_requests_are_answered() {
    let lab = Lab::new();
    let _service = Service::idle(&lab);
    let mode = std::fs::metadata(lab.state().join("socket")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let unknown = "the service does not know the request";
    for request in ["{\"command\":\"obey\"}\n", "\n", "check-in\n"] {
        let answer = ask(&lab, request);
        assert!(answer.contains(unknown), "{request}: {answer}");
    }
    let long = format!("{{\"command\":\"status\"{}}}\n", " ".repeat(2000));
    assert!(!ask(&lab, &long).contains("activity"));
    assert!(ask(&lab, "{\"command\":\"status\",\"new\":1}\n").contains("activity"));
}

#[test]
fn a_check_in_is_made_at_once_and_shows_its_progress() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    lab.assign(execute("echo hello"), package(1, None));
    let output = lab.agent(&["check-in"]);
    assert!(output.status.success(), "{}", text(&output));
    let numbers = |text: String| {
        let commit = text.lines().next().unwrap_or_default().to_owned();
        text.replace(&commit, "now holding commit NUMBER")
    };
    insta::assert_snapshot!(numbers(text(&output)), @"
    now holding commit NUMBER
    checked in, tasks: 1, next in 3600 s
    package 1795000001: manifest of lab 1.0 verified
    package 1795000001: started
    package 1795000001: finished with SUCCESS
    package 1795000001: result accepted
    done: `packcast-agent status` shows the results
    ");
    assert_eq!(lab.world().reports.len(), 1);
    lab.assign(execute("true"), package(2, None));
    let output = lab.agent(&["check-in", "--format", "json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let names = lines.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["event"].as_str().unwrap().to_owned()
    });
    let names: Vec<String> = names.collect();
    assert_eq!(names.first().unwrap(), "commit_held");
    assert_eq!(names.last().unwrap(), "reported");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_check_in_waits_for_the_package_under_way() {
    let lab = Lab::new();
    let (gate, id) = Gate::assign(&lab);
    let service = Service::start(&lab);
    service.tells("STATUS=Deploying lab@1.0 (1795000001): running");
    let status = text(&lab.agent(&["status", "--format", "json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let shown = &status["service"]["package"];
    assert_eq!(shown["id"], serde_json::json!(id));
    assert_eq!(shown["step"], "running");
    let mut asks = lab.command(&["check-in"]);
    let mut asks = asks.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(asks.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.starts_with("waiting for the round under way: Deploying lab@1.0"),
        "{first}"
    );
    // Announced after the round under way has begun.
    lab.assign(execute("true"), package(2, None));
    gate.open();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(
        rest.contains(&"package 1795000002: result accepted".to_owned()),
        "{rest:?}"
    );
    assert!(asks.wait().unwrap().success());
}

#[test]
fn a_failed_check_in_has_the_exit_code_of_a_round() {
    let lab = Lab::new();
    let _service = Service::idle(&lab);
    lab.world().statuses = [503; 4].into();
    let output = lab.agent(&["check-in"]);
    assert_eq!(output.status.code(), Some(75));
    insta::assert_snapshot!(lab.anonymous(&text(&output)), @"error: cannot complete the check-in: server https://EDGE/v1/check-in is unavailable (status 503): try again later");
    lab.world().statuses = [403].into();
    assert_eq!(lab.agent(&["check-in"]).status.code(), Some(1));
}

#[test]
fn without_a_service_the_commands_say_so() {
    let lab = Lab::new();
    let output = lab.agent(&["check-in"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(lab.anonymous(&text(&output)), @"error: no agent service runs with state folder LAB/state: start it with `systemctl start packcast-agent`, or run one round with `packcast-agent run --once`");
    // A service that was killed leaves its socket.
    let service = Service::idle(&lab);
    service.signal(Signal::KILL);
    drop(service);
    assert!(lab.state().join("socket").exists());
    assert_eq!(lab.agent(&["check-in"]).status.code(), Some(1));
    insta::assert_snapshot!(text_of_status(&lab), @"service: not running; start it with `systemctl start packcast-agent`");
    let service = Service::idle(&lab);
    assert!(lab.agent(&["check-in"]).status.success());
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn status_shows_a_person_the_work_of_the_device() {
    let lab = Lab::new();
    let service = Service::idle(&lab);
    let assign = |n, command: &str, change| {
        let content = package(n, None);
        lab.assign(execute(command), Package { change, ..content });
    };
    assign(1, "true", |manifest| manifest.name = "vlc".parse().unwrap());
    assign(2, "exit 7", |manifest| {
        manifest.name = "tool".parse().unwrap();
    });
    assert!(lab.agent(&["check-in"]).status.success());
    lab.world().tasks.clear();
    assign(3, "true", |_| {});
    let reason = HoldWord::Inactive;
    lab.world().answers = [(200, BeginReply::wait(reason))].into();
    assert!(lab.agent(&["check-in"]).status.success());
    let status = text(&lab.agent(&["status"]));
    let kept = status.lines().filter(|line| {
        ["device", "root key", "key list", "commit"]
            .iter()
            .all(|word| !line.starts_with(word))
    });
    let kept = kept.collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(without_times(&lab.anonymous(&kept)), @"
        service: Checked in DAY TIME UTC, next check-in DAY TIME UTC
        target TARGET
        groups: all
        package 1795000003: waits: the package is not active: wait until an administrator runs 'packcast activate'
        installed: vlc@1.0 (1795000001) since DAY
        all results:
        1795000001  DAY  attempt 1  succeeded  SUCCESS                   vlc@1.0
        1795000002  DAY  attempt 1  failed     EXIT_CODE_7               tool@1.0
        ");
    assert_eq!(service.stop(), Some(0));
}
