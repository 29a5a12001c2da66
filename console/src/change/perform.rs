//! Makes a change, to its end.

use axum::response::Response;
use packcast_publisher::signing::Signer;
use packcast_publisher::{Failure, Progress, Target};
use tokio::sync::oneshot;

use super::answers::{in_time, show_effect, show_form};
use super::effect::Effect;
use super::input::{Passphrase, Received};
use super::ledger::{Begin, ChangeEnd, FailedChange};
use super::views::Note;
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
    let (app, target) = (visit.app.clone(), visit.app.target().for_change());
    let change = match C::read(&received.input) {
        Ok(change) => change,
        Err(failure) => return refuse::<C>(visit, &received, decided, failure.into()).await,
    };
    let planned = in_time(plan(&app, &target, &change, &received)).await;
    let (planned, effect) = match planned {
        Ok(planned) => planned,
        Err(error) => return refuse::<C>(visit, &received, decided, error).await,
    };
    let progress = Progress::none();
    let note = match begin(&visit, &target, &received, &effect, &progress) {
        Ok(Begin::New(number)) => {
            let running = Running::new(app, number);
            // The change goes on if nobody waits for the answer any more.
            let _ = decided.send(Decided::Begun(number));
            return perform(running, &target, planned, progress).await;
        }
        Ok(Begin::Before(number)) => {
            let _ = decided.send(Decided::Begun(number));
            return;
        }
        Ok(Begin::Other) => Note::Changed,
        Err(note) => note,
    };
    let response = show_effect::<C>(visit, &target, &effect, &note);
    let _ = decided.send(Decided::Refused(response));
}

/// Unlocks the key if the change needs it, and begins the change.
fn begin(
    visit: &Visit,
    target: &Target,
    received: &Received,
    effect: &Effect,
    progress: &Progress,
) -> Result<Begin, Note> {
    if effect.needs_key {
        unlock(&visit.app, target, received.passphrase.as_ref())?;
    }
    Ok(visit.app.ledger().begin(
        &received.ticket,
        effect.digest,
        effect.request.clone(),
        progress.clone(),
        visit.now,
    ))
}

async fn perform(running: Running, target: &Target, planned: Planned<'_>, progress: Progress) {
    let signer = Signer::new(target, None);
    let made = (planned.perform)(signer, progress).await;
    running.end(match made {
        Ok(mut outcome) => {
            outcome.warnings.extend(target.warnings.take());
            ChangeEnd::Done(outcome)
        }
        Err(failure) => ChangeEnd::Failed(FailedChange::from(&failure)),
    });
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

/// Unlocks the key of a target, or returns the note for the page.
fn unlock(app: &App, target: &Target, passphrase: Option<&Passphrase>) -> Result<(), Note> {
    if let Some(passphrase) = passphrase {
        let unlocked = app.key().unlock(target, passphrase, app.now());
        return unlocked.map_err(Note::Refused);
    }
    match SessionKey::is_locked(target) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Note::NoPassphrase),
        Err(failure) => Err(Note::Refused(failure)),
    }
}

async fn refuse<C: Change>(
    visit: Visit,
    received: &Received,
    decided: oneshot::Sender<Decided>,
    error: PageError,
) {
    let response = show_form::<C>(visit, &received.input, Some(&error)).await;
    let _ = decided.send(Decided::Refused(response));
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
    let failure = Failure::failed("the change was interrupted: a part of it may be made")
        .hint("look at the history, and make the change again to complete it");
    ChangeEnd::Failed(FailedChange::from(&failure))
}
