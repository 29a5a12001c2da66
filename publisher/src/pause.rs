//! Pauses a whole target: no package is announced, and no device begins with one.
//!
//! The pause is a mark in the table that nobody signs. It only stops, so an attacker who controls the
//! table gains nothing by it.

use packcast_protocol::GroupName;
pub use packcast_store::records::Pause;
use serde::Serialize;

use crate::failure::Failure;
use crate::preview::Preview;
use crate::stopping::complete_in_s;
use crate::target::Target;
use crate::text::time;

/// The result of a command that pauses or resumes a target.
#[derive(Debug, Serialize)]
pub struct PauseChange {
    /// The pause of the target now; `None` if the target is not paused.
    pub pause: Option<Pause>,
    /// `false` if the target was paused, or not paused, already.
    pub changed: bool,
    /// Seconds until every function knows of the change.
    pub complete_in_s: u64,
}

/// Returns the effect of a pause. It has no devices if the target is paused already.
pub async fn preview_pause(target: &Target) -> Result<Preview, Failure> {
    preview(target, effect(target), current(target).await?.is_none()).await
}

/// Returns the effect of a pause in words.
pub fn effect(target: &Target) -> String {
    format!("Pauses target {}", target.name)
}

/// Returns the effect of the end of a pause. It has no devices if the target is not paused.
pub async fn preview_resume(target: &Target) -> Result<Preview, Failure> {
    let effect = format!("Ends the pause of target {}", target.name);
    preview(target, effect, current(target).await?.is_some()).await
}

async fn preview(target: &Target, effect: String, changes: bool) -> Result<Preview, Failure> {
    let preview = Preview::new(effect);
    if changes {
        preview.with_groups(target, &[GroupName::all()]).await
    } else {
        Ok(preview)
    }
}

/// Pauses a target. An earlier pause stays.
pub async fn pause(target: &Target) -> Result<PauseChange, Failure> {
    let (pause, changed) = target.records.begin_pause(&target.changed_by()).await?;
    Ok(PauseChange {
        pause: Some(pause),
        changed,
        complete_in_s: complete_in_s(target),
    })
}

/// Ends the pause of a target.
pub async fn resume(target: &Target) -> Result<PauseChange, Failure> {
    let changed = target.records.end_pause(&target.changed_by()).await?;
    Ok(PauseChange {
        pause: None,
        changed,
        complete_in_s: complete_in_s(target),
    })
}

/// Returns the pause of a target; `None` if the target is not paused.
pub async fn current(target: &Target) -> Result<Option<Pause>, Failure> {
    Ok(target.records.pause().await?)
}

/// Writes a pause, such as `since 2026-11-22 21:55:00 UTC, by mia on desk`.
pub fn words(pause: &Pause) -> String {
    let since = format!("since {}", time(pause.since));
    match (pause.user.as_str(), pause.host.as_str()) {
        ("", "") => since,
        ("", host) => format!("{since}, from {host}"),
        (user, "") => format!("{since}, by {user}"),
        (user, host) => format!("{since}, by {user} on {host}"),
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use serde_json::json;

    use super::*;
    use crate::test_target::TestTarget;

    #[tokio::test]
    async fn a_pause_needs_no_count_of_devices() {
        let target = TestTarget::start(391).await;
        let count = json!({
            "pk": { "S": "DEVICES#00" },
            "sk": { "S": "COUNT" },
            "members": { "S": "many" },
        });
        target.table.put(&count).await;
        let target = &target.target;
        preview_pause(target).await.unwrap_err();
        assert!(pause(target).await.unwrap().changed);
        assert!(current(target).await.unwrap().is_some());
    }

    #[test]
    fn a_pause_names_its_time_and_author() {
        let authors = [("mia", "desk"), ("mia", ""), ("", "desk"), ("", "")];
        let lines = authors.map(|(user, host)| {
            words(&Pause {
                since: UnixTime(1_795_000_000),
                user: user.to_owned(),
                host: host.to_owned(),
            })
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        since 2026-11-18 11:06:40 UTC, by mia on desk
        since 2026-11-18 11:06:40 UTC, by mia
        since 2026-11-18 11:06:40 UTC, from desk
        since 2026-11-18 11:06:40 UTC
        ");
    }
}
