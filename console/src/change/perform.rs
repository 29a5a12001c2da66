//! Makes a change, to its end.

use std::sync::Arc;

use axum::response::Response;
use packcast_publisher::signing::Signer;
use packcast_publisher::{Failure, Progress, Target};
use tokio::sync::oneshot;

use super::answers::{in_time, show_effect, show_form};
use super::effect::{Effect, ShownHead};
use super::input::Received;
use super::ledger::{Begin, ChangeEnd, FailedChange, Ticket};
use super::views::Note;
use super::work::ChangeWork;
use super::{Change, Planned};
use crate::app::App;
use crate::key::SessionKey;
use crate::page_error::PageError;
use crate::visit::Visit;

/// The decision on a change.
pub(super) enum Decided {
    /// The change with this number has begun.
    Begun(u64),
    /// Nothing was changed.
    Refused(Response),
}

/// A running change. Its end is on record in any case, also after a panic.
struct Running {
    app: App,
    number: u64,
    end: Option<ChangeEnd>,
}

/// Decides on a change again, tells the decision, and makes the change.
pub(super) async fn make<C: Change>(
    visit: Visit,
    received: Received,
    decided: oneshot::Sender<Decided>,
) {
    let (app, target) = (visit.app.clone(), visit.target_for_change());
    let change = match C::read(&received.input) {
        Ok(change) => change,
        Err(failure) => return refuse::<C>(visit, &received, decided, failure.into()).await,
    };
    let planned = in_time(plan(&app, &target, &change, &received)).await;
    let (planned, effect) = match planned {
        Ok(planned) => planned,
        Err(error) => return refuse::<C>(visit, &received, decided, error).await,
    };
    let ticket = app.ledger().look_up(&received.ticket, &effect.decision);
    let note = match ticket {
        Ticket::Valid => match signer(&visit, &target, &received, &effect) {
            Ok(signer) => {
                let work = ChangeWork::new(visit.change_meter());
                match begin(&visit, &received, &effect, &work) {
                    Begin::New(number) => {
                        let running = Running::new(app, number);
                        // The change goes on if nobody waits for the answer any more.
                        let _ = decided.send(Decided::Begun(number));
                        return perform(running, &target, planned, signer, work.progress).await;
                    }
                    begin => {
                        return show_again::<C>(visit, &target, &effect, begin.into(), decided);
                    }
                }
            }
            Err(note) => Again::Note(note),
        },
        ticket => ticket.into(),
    };
    show_again::<C>(visit, &target, &effect, note, decided);
}

/// The answer to a change that does not begin.
enum Again {
    /// The change was begun before.
    Begun(u64),
    Note(Note),
}

impl From<Ticket> for Again {
    fn from(ticket: Ticket) -> Self {
        match ticket {
            Ticket::Used(number) => Self::Begun(number),
            Ticket::Valid | Ticket::Changed => Self::Note(Note::Changed),
            Ticket::Unknown => Self::Note(Note::TooOld),
        }
    }
}

impl From<Begin> for Again {
    fn from(begin: Begin) -> Self {
        match begin {
            Begin::New(number) => Self::Begun(number),
            Begin::Refused(ticket) => ticket.into(),
            Begin::Busy => Self::Note(Note::Busy),
            Begin::Closed => Self::Note(Note::Ending),
        }
    }
}

/// Returns the signer of a change, or the note that asks for the passphrase.
fn signer(
    visit: &Visit,
    target: &Target,
    received: &Received,
    effect: &Effect,
) -> Result<Signer, Note> {
    if !effect.needs_key {
        return Ok(Signer::new(target, None));
    }
    if let Some(passphrase) = &received.passphrase {
        let unlocked = visit.app.key().unlock(target, passphrase, visit.app.now());
        unlocked.map_err(Note::Refused)?;
    }
    match SessionKey::of(target) {
        Ok(Some(key)) => {
            let signer = Signer::with(target, Arc::new(key));
            Ok(match effect.head {
                ShownHead::Is(head) => signer.on_head(head),
                ShownHead::ByChange => signer,
            })
        }
        Ok(None) => Err(Note::NoPassphrase),
        Err(failure) => Err(Note::Refused(failure)),
    }
}

fn begin(visit: &Visit, received: &Received, effect: &Effect, work: &ChangeWork) -> Begin {
    visit.app.ledger().begin(
        &received.ticket,
        &effect.decision,
        effect.request.clone(),
        work.clone(),
        visit.now,
    )
}

async fn perform(
    running: Running,
    target: &Target,
    planned: Planned<'_>,
    signer: Signer,
    progress: Progress,
) {
    let made = (planned.perform)(signer, progress).await;
    running.end(match made {
        Ok(mut outcome) => {
            outcome.warnings.extend(target.warnings.take());
            ChangeEnd::Done(outcome)
        }
        Err(failure) => ChangeEnd::Failed(FailedChange::from(&failure)),
    });
}

/// Shows an effect again, with the reason for which nothing was changed.
fn show_again<C: Change>(
    visit: Visit,
    target: &Target,
    effect: &Effect,
    again: Again,
    decided: oneshot::Sender<Decided>,
) {
    let answer = match again {
        Again::Begun(number) => Decided::Begun(number),
        Again::Note(note) => Decided::Refused(show_effect::<C>(visit, target, effect, &note)),
    };
    let _ = decided.send(answer);
}

async fn plan<'a, C: Change>(
    app: &App,
    target: &'a Target,
    change: &'a C,
    received: &Received,
) -> Result<(Planned<'a>, Effect), Failure> {
    let mut planned = change.plan(target).await?;
    let of = (change, &received.input);
    let effect = Effect::of(target, app.commands(), of, &mut planned).await?;
    Ok((planned, effect))
}

async fn refuse<C: Change>(
    visit: Visit,
    received: &Received,
    decided: oneshot::Sender<Decided>,
    error: PageError,
) {
    // The form was sent twice, and the first change has made the second one impossible.
    let before = visit.app.ledger().begun_by(&received.ticket);
    let answer = if let Some(number) = before {
        Decided::Begun(number)
    } else {
        let response = show_form::<C>(visit, &received.input, Some(&error)).await;
        Decided::Refused(response)
    };
    let _ = decided.send(answer);
}

impl Running {
    const fn new(app: App, number: u64) -> Self {
        let end = None;
        Self { app, number, end }
    }

    fn end(mut self, end: ChangeEnd) {
        self.end = Some(end);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(interrupted);
        self.app.end_change(self.number, end);
    }
}

fn interrupted() -> ChangeEnd {
    let failure = Failure::failed("cannot tell the result of the change: it was interrupted")
        .hint("look at the history, and make the change again to complete it");
    ChangeEnd::Failed(FailedChange::from(&failure))
}
