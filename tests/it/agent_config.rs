//! Agents with the configuration that `packcast agent-config` prints.

use packcast_tests::world::World;
use serde::Deserialize;

use crate::PROGRAM;

/// The JSON output of `agent-config`.
#[derive(Deserialize)]
struct PrintedConfig {
    config: String,
    enrolment_token: Option<String>,
}

/// A part of the JSON output of `keys show` and `keys rotate`.
#[derive(Deserialize)]
struct ShownTrust {
    trust: String,
}

/// A device of a world, with the printed configuration and a state folder of its own.
struct Device {
    world: World,
    config: String,
}

impl Device {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        // A device needs a state before it can follow it.
        world.ok(&["sign"]);
        let mut device = Self {
            world,
            config: String::new(),
        };
        let trust = device.trust();
        device.write_config("agent", &trust);
        device
    }

    /// Writes the printed configuration, with this trust line and a state folder of this name.
    fn write_config(&mut self, folder: &str, trust: &str) {
        let config = self.world.ok(&["agent-config"]).stdout;
        let usual = "\"/var/lib/packcast-agent\"";
        assert!(config.contains(usual), "{config}");
        let own = format!("{:?}", self.world.path(folder));
        let config = config.replace(usual, &own).replace(&self.trust(), trust);
        self.config = self.world.file("agent.toml", config.as_bytes());
    }

    fn trust(&self) -> String {
        self.world.json::<ShownTrust>(&["keys", "show"]).trust
    }

    /// Rotates the key, and returns the trust line for new agents.
    fn rotate(&self) -> String {
        let rotate = ["keys", "rotate", "--unencrypted"];
        self.world.json::<ShownTrust>(&rotate).trust
    }

    fn run(&self) {
        self.world
            .ok(&["agent", "--config", &self.config, "run", "--once"]);
    }

    /// Assigns a package that writes a file, runs the agent, and expects the file.
    fn deploys(&self, name: &str) {
        let file = self.world.path(name);
        self.world.execute(name, &format!("touch {file}"));
        self.world.ok(&["assign", &format!("{name}@1"), "--all"]);
        self.run();
        assert!(std::path::Path::new(&file).exists(), "{name}");
    }
}

#[test]
fn an_agent_with_the_printed_configuration_follows_a_rotation() {
    let mut device = Device::begin();
    device.run();
    device.deploys("before");
    let trust = device.trust();
    let rotated = device.rotate();
    assert_ne!(rotated, trust);
    // A function that starts again still sends the list that leads from the old key to the new one.
    device.world.restart();
    device.write_config("agent", &trust);
    device.deploys("after");
    let again = device.rotate();
    device.deploys("later");
    // New agents get the present root key.
    assert_eq!(device.trust(), again);
}

#[test]
fn a_new_agent_needs_only_the_key_of_the_last_rotation() {
    let mut device = Device::begin();
    device.rotate();
    let rotated = device.rotate();
    device.write_config("new", &rotated);
    device.deploys("new");
}

#[test]
fn the_enrolment_token_is_printed_on_request() {
    let world = World::start(PROGRAM);
    let token = world.state().enrolment_token.reveal();
    for arguments in [&["agent-config"][..], &["agent-config", "--windows"]] {
        let printed: PrintedConfig = world.json(arguments);
        assert_eq!(printed.enrolment_token, None);
        assert!(!printed.config.contains(token), "{}", printed.config);
    }
    let printed: PrintedConfig = world.json(&["agent-config", "--with-token"]);
    assert_eq!(printed.enrolment_token.as_deref(), Some(token));
    assert!(!printed.config.contains(token), "{}", printed.config);
    let text = world.ok(&["agent-config", "--with-token"]).stdout;
    assert!(text.ends_with(&format!("# {token}\n")), "{text}");
}

#[test]
fn the_address_of_a_target_is_configured_or_given() {
    let world = World::start(PROGRAM);
    let trust =
        "a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
    let stack = "[target.prod]\ntable = \"t\"\nbucket = \"b\"\n";
    world.configure_machine(stack);
    world.ok(&["keys", "accept-trust", trust, "--target=prod"]);
    let print = ["agent-config", "--target=prod"];
    let refused = world.refused(2, &print);
    assert!(refused.contains("--server"), "{refused}");
    let given = world.ok(&[&print[..], &["--server=https://a.example.net"]].concat());
    let expected = format!("server = \"https://a.example.net\"\ntrust = \"{trust}\"\n");
    assert!(given.stdout.contains(&expected), "{}", given.stdout);
    world.configure_machine(&format!("{stack}server = \"https://a.example.net\"\n"));
    assert_eq!(world.ok(&print).stdout, given.stdout);
}
