//! An attacker who controls objects, table and function, but has no key: what remains possible.

use serde_json::{Value, json};

use super::attacked_system::{AttackedSystem, tasks};

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
    impossible("run a signed package that is not assigned", run_unassigned),
    impossible("run an unsigned program", run_own),
    impossible("run a package again that was assigned once", run_again),
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
    let task = system.task(&package);
    let documents = super::reply::documents(system);
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    system.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["cancel"] = json!([]);
        reply["assignments"] = json!(documents);
    });
    system.device.run();
    system.runs("tool") == 1
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
    super::reply::task_in_no_document(system).ran > 0
}

fn run_own(system: &AttackedSystem) -> bool {
    super::objects::own_manifest_announced(system).ran > 0
}

fn run_again(system: &AttackedSystem) -> bool {
    super::reply::force_added_to_a_task(system).ran > 0
}
