//! Open tasks in the JSON that commands print.

use packcast_rollout::{OpenTask, TaskState};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Writes open tasks with the [words of the output](state_word).
pub(super) fn all<S: Serializer>(tasks: &[OpenTask], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tasks.iter().map(Shown))
}

/// Writes an open task, if there is one, in the same way.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn optional<S: Serializer>(
    task: &Option<OpenTask>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    task.as_ref().map(Shown).serialize(serializer)
}

/// An open task whose state has the word of the output.
struct Shown<'a>(&'a OpenTask);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut task = serde_json::to_value(self.0).map_err(S::Error::custom)?;
        task["state"]["state"] = Value::from(state_word(self.0.state));
        task.serialize(serializer)
    }
}

/// Returns the word for the state of a task. The table has the word `held` instead of `waiting`.
const fn state_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "waiting",
        TaskState::Announced { .. } => "announced",
        TaskState::Withdrawn { .. } => "withdrawn",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Output {
        #[serde(serialize_with = "all")]
        open: Vec<OpenTask>,
        #[serde(serialize_with = "optional")]
        task: Option<OpenTask>,
        #[serde(serialize_with = "optional")]
        none: Option<OpenTask>,
    }

    #[test]
    fn the_output_has_other_words_than_the_table_and_all_fields() {
        let states = [
            (json!({ "state": "held" }), json!({ "state": "waiting" })),
            (
                json!({ "state": "announced", "announced_at": 7 }),
                json!({ "state": "announced", "announced_at": 7 }),
            ),
            (
                json!({ "state": "withdrawn", "announced_at": 7 }),
                json!({ "state": "withdrawn", "announced_at": 7 }),
            ),
        ];
        for (stored, shown) in states {
            let with = |state: &Value| {
                json!({
                    "package": "1795327754",
                    "priority": 5,
                    "attempt": 1,
                    "state": state,
                    "force": false,
                    "direct": true,
                    "mandate": 3,
                    "assigned_at": 1_795_000_000,
                })
            };
            let task: OpenTask = serde_json::from_value(with(&stored)).unwrap();
            let output = Output {
                open: vec![task.clone()],
                task: Some(task),
                none: None,
            };
            let expected = json!({ "open": [with(&shown)], "task": with(&shown), "none": null });
            assert_eq!(serde_json::to_value(output).unwrap(), expected);
        }
    }
}
