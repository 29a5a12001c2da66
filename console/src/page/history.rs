//! The history: commits with their differences, verified, and the changes that nobody signs.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::state::CommitId;
use packcast_publisher::log::{
    LogEntry, LogPlace, LogRequest, LoggedCommit, LoggedEvent, LoggedStanding, TargetLog, log,
};
use packcast_rollout::EventTime;
use serde::Deserialize;

use crate::change::address::REVERT;
use crate::change::links::{ChangeLink, action};
use crate::layout::{Section, View};
use crate::page_error::{PageError, field};
use crate::visit::Visit;
use crate::words::{lines, next_page, state, text, when};

/// The number of commits and events on a page.
const MOST: usize = 6;

#[derive(Deserialize)]
pub(crate) struct Choice {
    /// The last commit and the last event of the page before.
    commit: Option<String>,
    event: Option<String>,
    signed: Option<String>,
}

pub(crate) async fn page(visit: Visit, Query(choice): Query<Choice>) -> Response {
    let view = view(&visit, &choice).await;
    visit.answer(view)
}

async fn view(visit: &Visit, choice: &Choice) -> Result<View, PageError> {
    let commit: Option<CommitId> = field(choice.commit.as_deref(), "commit")?;
    let event: Option<u64> = field(choice.event.as_deref(), "event")?;
    let event = event.map(EventTime::of_microseconds);
    let begin = (commit.is_some() || event.is_some()).then_some(LogPlace { commit, event });
    let is_signed_only = choice.signed.is_some();
    let request = LogRequest {
        limit: MOST,
        before: None,
        after: begin,
        is_signed_only,
        package: None,
        group: None,
        device: None,
    };
    let found = log(&visit.target, &request).await?;
    let next = next_address(&found, begin, is_signed_only);
    let problem = found.conclude().err();
    let body = html! {
        nav.chips aria-label="Kind of the changes" {
            ul {
                li {
                    a href="/history" aria-current=[(!is_signed_only).then_some("true")] {
                        "All changes"
                    }
                }
                li {
                    a href="/history?signed=1" aria-current=[is_signed_only.then_some("true")] {
                        "Signed changes"
                    }
                }
            }
        }
        @if let Some(problem) = &problem {
            p.notice.bad role="alert" {
                (text(&visit.app.commands().in_text(&problem.message())))
            }
        }
        @if found.entries.is_empty() { p.empty { "There are no changes here." } }
        ol.history {
            @for entry in &found.entries {
                li {
                    @match entry {
                        LogEntry::Commit(commit) => (commit_of(commit, visit)),
                        LogEntry::Event(event) => (event_of(event, visit)),
                    }
                }
            }
        }
        (next_page(next))
    };
    let mut words = vec!["log".to_owned(), "--limit".to_owned(), MOST.to_string()];
    words.extend(is_signed_only.then(|| "--signed".to_owned()));
    // The command begins at a second, and so it can repeat some changes of the page before.
    let number = commit.map(|it| it.number);
    let second = event.map(|it| it.second().0 + 1);
    if let Some(before) = number.max(second) {
        words.extend(["--before".to_owned(), before.to_string()]);
    }
    let line = visit.app.commands().line(words.iter().map(String::as_str));
    Ok(View {
        title: "History".to_owned(),
        section: Some(Section::History),
        commands: vec![line],
        body,
    })
}

/// Returns the address of the page after the end of this one; `None` after the last page.
fn next_address(
    found: &TargetLog,
    begin: Option<LogPlace>,
    is_signed_only: bool,
) -> Option<String> {
    if found.entries.len() < MOST {
        return None;
    }
    let LogPlace { commit, event } = found.end(begin);
    let fields = [
        commit.map(|commit| format!("commit={commit}")),
        event.map(|event| format!("event={}", event.microseconds())),
        is_signed_only.then(|| "signed=1".to_owned()),
    ];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    Some(format!("/history?{}", fields.join("&")))
}

fn commit_of(commit: &LoggedCommit, visit: &Visit) -> Markup {
    let standing = match commit.standing {
        LoggedStanding::Verified => "verified",
        LoggedStanding::Replaced => "replaced",
        LoggedStanding::Unverified => "unverified",
    };
    html! {
        article {
            h2 {
                "Commit " (commit.number) " " (state(standing))
            }
            p.soft {
                @if let Some(issued) = commit.issued { (when(issued, visit.now)) }
                @if let Some(about) = &commit.about {
                    @if !about.author.is_empty() {
                        " by " (text(&about.author)) " on " (text(&about.host))
                    }
                }
            }
            @if let Some(about) = &commit.about {
                @if !about.command.is_empty() { p { code.recorded { (text(&about.command)) } } }
                @if !about.note.is_empty() { p { (text(&about.note)) } }
            }
            @if let Some(problem) = &commit.problem { p.notice.bad { (text(problem)) } }
            (lines(&commit.lines))
            @if commit.standing == LoggedStanding::Verified { (revert(commit.number, visit)) }
            @if let Some(key) = &commit.key {
                details {
                    summary { "Signature" }
                    p { "Signed by " code.digest { (key) } }
                    p { "Commit " code.digest { (commit.commit) } }
                }
            }
        }
    }
}

fn revert(number: u64, visit: &Visit) -> Markup {
    let number = number.to_string();
    let link = ChangeLink::new(REVERT, "Revert to this state", &[("commit", &number)]);
    let label = format!("Revert to this state, after commit {number}");
    html! { p { (action(visit, &link, &label)) } }
}

fn event_of(event: &LoggedEvent, visit: &Visit) -> Markup {
    html! {
        article {
            p.soft {
                (state("unsigned")) " " (when(event.issued, visit.now))
                @if !event.author.is_empty() {
                    " by " (text(&event.author)) " on " (text(&event.host))
                }
            }
            @if let Some(problem) = &event.problem { p.notice.bad { (text(problem)) } }
            (lines(&event.lines))
        }
    }
}
