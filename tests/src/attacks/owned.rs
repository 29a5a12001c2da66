//! An attacker who controls objects, table and function, but has no key: what remains possible.

use serde_json::{Value, json};

use super::stage::{Stage, tasks};

/// An action that the attacker tries, with the known answer whether it is possible.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    pub name: &'static str,
    /// Carries the action out, and returns whether it succeeded.
    pub act: fn(&Stage) -> bool,
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
    impossible(
        "run a signed package that is not assigned",
        run_unassigned,
    ),
    impossible("run an unsigned program", run_own),
    impossible("run a package again that was assigned once", run_again),
];

const fn power(name: &'static str, act: fn(&Stage) -> bool) -> Power {
    Power {
        name,
        act,
        remains: true,
    }
}

const fn impossible(name: &'static str, act: fn(&Stage) -> bool) -> Power {
    Power {
        name,
        act,
        remains: false,
    }
}

fn withhold(stage: &Stage) -> bool {
    stage.assigned("tool");
    stage.function.edit(|reply| tasks(reply).clear());
    stage.device.run();
    let withheld = stage.runs("tool") == 0;
    stage.function.edit(|_| {});
    stage.device.run();
    withheld && stage.runs("tool") == 1
}

fn withhold_the_withdrawal(stage: &Stage) -> bool {
    let package = stage.assigned("tool");
    let task = stage.task(&package);
    let documents = super::reply::documents(stage);
    let device = stage.device.id();
    stage.world.ok(&["unassign", "tool@1", "--device", device]);
    stage.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["cancel"] = json!([]);
        reply["assignments"] = json!(documents);
    });
    stage.device.run();
    stage.runs("tool") == 1
}

fn cancel(stage: &Stage) -> bool {
    stage.assigned("tool");
    stage.function.edit(|reply| {
        let all: Vec<Value> = tasks(reply)
            .drain(..)
            .map(|task| json!({ "id": task["id"], "attempt": task["attempt"] }))
            .collect();
        reply["cancel"] = json!(all);
    });
    let tried = stage.attempt();
    tried.says("CANCELLED") && tried.ran == 0
}

fn reorder(stage: &Stage) -> bool {
    let first = stage.package("first", &["--priority", "1"]).id;
    stage.package("second", &["--priority", "9"]);
    for package in ["first@1", "second@1"] {
        stage.world.assign(package, &stage.device);
    }
    stage.function.edit(move |reply| {
        for task in tasks(reply) {
            let priority = if task["id"] == json!(first) { 9 } else { 1 };
            task["priority"] = priority.into();
        }
        tasks(reply).sort_by_key(|task| task["priority"].as_u64());
    });
    let started = stage
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

fn learn(stage: &Stage) -> bool {
    stage.assigned("tool");
    stage.device.run();
    let heard = stage.function.heard();
    let seen = |word: &str| {
        let mut bodies = heard
            .iter()
            .map(|asked| String::from_utf8_lossy(&asked.body));
        bodies.any(|body| body.contains(word))
    };
    seen("host_name") && seen("SUCCESS_0")
}

fn forge_statistics(stage: &Stage) -> bool {
    stage.assigned("tool");
    stage.edit_table(|item| {
        if item.get("assigned").is_some() && item.get("pk").is_some() {
            item["succeeded"] = json!({ "N": "1000" });
        }
    });
    stage.world.progress("tool@1").succeeded >= 1000
}

fn run_unassigned(stage: &Stage) -> bool {
    super::reply::task_in_no_document(stage).ran > 0
}

fn run_own(stage: &Stage) -> bool {
    super::objects::own_manifest_announced(stage).ran > 0
}

fn run_again(stage: &Stage) -> bool {
    super::reply::force_where_the_document_has_none(stage).ran > 0
}
