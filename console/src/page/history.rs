//! The history: commits with their differences, verified, and the changes that nobody signs.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::state::CommitId;
use packcast_publisher::log::{
    LogEntry, LogPlace, LogRequest, LoggedCommit, LoggedEvent, LoggedStanding, TargetLog,
    find_commit, log,
};
use packcast_rollout::EventTime;
use serde::Deserialize;

use crate::change::address::REVERT;
use crate::change::links::{ChangeLink, action};
use crate::layout::{Section, View};
use crate::page_error::{PageError, field, named};
use crate::visit::{Visit, on_one_thread};
use crate::words::{grouped, lines, next_page, state, text, when};

/// The number of commits and events on a page.
const MOST: usize = 6;

/// The number of pages and documents that a page reads for all differences, half a read unit each.
const READS: usize = 48;

/// The number of lines on the page of one commit.
const LINES: usize = 500;

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
        most_reads: Some(READS),
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
    html! {
        article {
            h2 {
                a href=(path(commit.commit)) { "Commit " (commit.number) } " " (standing_of(commit))
            }
            (about(commit, visit))
            (lines(&commit.lines))
            @if commit.is_left_out {
                p {
                    a href=(path(commit.commit)) { "Show the difference of commit " (commit.number) }
                    span.soft {
                        " (it concerns many packages or devices: a read unit for each of them)"
                    }
                }
            }
            (revert_and_signature(commit, visit))
        }
    }
}

fn standing_of(commit: &LoggedCommit) -> Markup {
    state(match commit.standing {
        LoggedStanding::Verified => "verified",
        LoggedStanding::Replaced => "replaced",
        LoggedStanding::Unverified => "unverified",
    })
}

/// Writes the time, author and purpose of a commit, and its problem.
fn about(commit: &LoggedCommit, visit: &Visit) -> Markup {
    html! {
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
    }
}

fn revert_and_signature(commit: &LoggedCommit, visit: &Visit) -> Markup {
    html! {
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

fn path(commit: CommitId) -> String {
    format!("/history/{commit}")
}

#[derive(Deserialize)]
pub(crate) struct Part {
    after: Option<String>,
}

/// Shows one commit with its whole difference, however large.
pub(crate) async fn commit(
    visit: Visit,
    Path(commit): Path<String>,
    Query(part): Query<Part>,
) -> Response {
    on_one_thread(|| async move {
        let view = commit_view(&visit, &commit, &part).await;
        visit.answer(view)
    })
    .await
}

async fn commit_view(visit: &Visit, commit: &str, part: &Part) -> Result<View, PageError> {
    let id: CommitId = named(commit, "commit")?;
    let after: usize = field(part.after.as_deref(), "after")?.unwrap_or(0);
    let Some(commit) = find_commit(&visit.target, id).await? else {
        let text = format!("cannot find commit {id}: the table does not have it");
        return Err(PageError::NotFound(text));
    };
    let all = commit.lines.len();
    let end = after.saturating_add(LINES).min(all);
    let shown = commit.lines.get(after..end).unwrap_or_default();
    let next = (end < all).then(|| format!("{}?after={end}", path(id)));
    let body = html! {
        p { (standing_of(&commit)) }
        (about(&commit, visit))
        h2 { "Difference" }
        @if all == 0 && commit.problem.is_none() { p.empty { "The commit changes nothing. It signs the state again." } }
        ul.lines { @for line in shown { li { (text(line)) } } }
        @if all > shown.len() {
            p.soft {
                "Lines " (grouped(after as u64 + 1)) " to " (grouped(end as u64)) " of "
                (grouped(all as u64)) ". Each page reads the difference again."
            }
        }
        (next_page(next))
        (revert_and_signature(&commit, visit))
        p { a href="/history" { "Show the history" } }
    };
    let before = (commit.number + 1).to_string();
    let words = ["log", "--signed", "--limit", "1", "--before", &before];
    Ok(View {
        title: format!("Commit {}", commit.number),
        section: Some(Section::History),
        commands: vec![visit.app.commands().line(words)],
        body,
    })
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
