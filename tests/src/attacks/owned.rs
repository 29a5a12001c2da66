//! An attacker who controls objects, table and function, but has no key: what remains possible.

use serde_json::{Value, json};

use super::attacked_system::{AttackedSystem, tasks};
use super::{rollouts, state};

/// An action that the attacker tries, with the known answer whether it is possible.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    pub name: &'static str,
    /// Carries the action out, and returns whether it succeeded.
    pub act: fn(&AttackedSystem) -> bool,
    /// The action is known to be possible, because no signature prevents it.
    pub remains: bool,
}

/// Actions of an attacker who controls everything except the keys.
pub const POWERS: &[Power] = &[
    power("delay an assigned package", withhold),
    power(
        "hide the withdrawal of an assignment from a device",
        withhold_the_withdrawal,
    ),
    power("cancel tasks before they begin", cancel),
    power("reorder assigned packages", reorder),
    power("read the facts and results that devices report", learn),
    power("forge statistics", forge_statistics),
    power(
        "give a device without a state any state that has not expired",
        restore_for_a_new_device,
    ),
    power(
        "let a device of an open wave begin although the rollout is halted",
        rollouts::begin_in_a_halted_rollout,
    ),
    power("resume a halted rollout", rollouts::resume_a_halted_rollout),
    power(
        "open a wave from its time on, whatever the health of the waves before",
        rollouts::open_a_wave_without_health,
    ),
    impossible("run a signed package that is not assigned", run_unassigned),
    impossible("run an unsigned program", run_own),
    impossible("run a package again that was assigned once", run_again),
    impossible("combine parts of two signed states", combine_states),
    impossible(
        "show an earlier state to a device that holds a later one",
        restore_for_a_device,
    ),
    impossible(
        "open a wave of a rollout before its time",
        open_a_wave_early,
    ),
    impossible(
        "choose the first devices of a rollout",
        choose_the_first_devices,
    ),
    impossible(
        "make agents ask another host for packages",
        ask_another_host,
    ),
];

const fn power(name: &'static str, act: fn(&AttackedSystem) -> bool) -> Power {
    Power {
        name,
        act,
        remains: true,
    }
}

const fn impossible(name: &'static str, act: fn(&AttackedSystem) -> bool) -> Power {
    Power {
        name,
        act,
        remains: false,
    }
}

fn withhold(system: &AttackedSystem) -> bool {
    system.assigned("tool");
    system.function.edit(|reply| tasks(reply).clear());
    system.device.run();
    let withheld = system.runs("tool") == 0;
    system.function.edit(|_| {});
    system.device.run();
    withheld && system.runs("tool") == 1
}

fn withhold_the_withdrawal(system: &AttackedSystem) -> bool {
    let package = system.assigned("tool");
    let state = system.own_state();
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    system.attempt_with(&package, &state).ran == 1
}

/// The device has received the withdrawal, and loses its state before it has acted on anything.
fn restore_for_a_new_device(system: &AttackedSystem) -> bool {
    let package = system.assigned("tool");
    let state = system.own_state();
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    system.device.run();
    system.device.forget_state();
    system.attempt_with(&package, &state).ran == 1
}

fn cancel(system: &AttackedSystem) -> bool {
    system.assigned("tool");
    system.function.edit(|reply| {
        let all: Vec<Value> = tasks(reply)
            .drain(..)
            .map(|task| json!({ "id": task["id"], "attempt": task["attempt"] }))
            .collect();
        reply["cancel"] = json!(all);
    });
    let tried = system.attempt();
    tried.contains("CANCELLED") && tried.ran == 0
}

fn reorder(system: &AttackedSystem) -> bool {
    let first = system.package("first", &["--priority", "1"]).id;
    system.package("second", &["--priority", "9"]);
    for package in ["first@1", "second@1"] {
        system.world.assign(package, &system.device);
    }
    system.function.edit(move |reply| {
        for task in tasks(reply) {
            let priority = if task["id"] == json!(first) { 9 } else { 1 };
            task["priority"] = priority.into();
        }
        tasks(reply).sort_by_key(|task| task["priority"].as_u64());
    });
    let started = system
        .device
        .run()
        .into_iter()
        .filter_map(|event| match event {
            packcast_agent::event::Event::Started { id } => Some(id),
            _ => None,
        });
    let started: Vec<_> = started.collect();
    started.len() == 2 && started[1] == first
}

fn learn(system: &AttackedSystem) -> bool {
    system.assigned("tool");
    system.device.run();
    let requests = system.function.requests();
    let seen = |word: &str| {
        let mut bodies = requests
            .iter()
            .map(|asked| String::from_utf8_lossy(&asked.body));
        bodies.any(|body| body.contains(word))
    };
    seen("host_name") && seen("SUCCESS_0")
}

fn forge_statistics(system: &AttackedSystem) -> bool {
    system.assigned("tool");
    system.edit_table(|item| {
        if item.get("assigned").is_some() && item.get("pk").is_some() {
            item["succeeded"] = json!({ "N": "1000" });
        }
    });
    system.world.progress("tool@1").succeeded >= 1000
}

fn run_unassigned(system: &AttackedSystem) -> bool {
    state::task_without_an_entry(system).ran > 0
}

fn run_own(system: &AttackedSystem) -> bool {
    super::objects::own_manifest_announced(system).ran > 0
}

fn run_again(system: &AttackedSystem) -> bool {
    super::reply::attempt_raised(system).ran > 0
}

fn combine_states(system: &AttackedSystem) -> bool {
    state::removed_member_with_a_later_assignment(system).ran > 0
}

fn restore_for_a_device(system: &AttackedSystem) -> bool {
    state::state_put_back(system).ran > 0
}

fn ask_another_host(system: &AttackedSystem) -> bool {
    !state::location_of_another_host(system).leaked.is_empty()
}

fn open_a_wave_early(system: &AttackedSystem) -> bool {
    rollouts::wave_opened_early(system).ran > 0
}

fn choose_the_first_devices(system: &AttackedSystem) -> bool {
    rollouts::device_outside_the_pilot(system).ran > 0
}
