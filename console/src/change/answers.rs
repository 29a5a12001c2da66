//! Answers with the pages of a change.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use packcast_publisher::{Failure, Target};

use super::Change;
use super::effect::Effect;
use super::input::Input;
use super::views::{self, KeyNeed, Note};
use crate::answer;
use crate::app::App;
use crate::key::SessionKey;
use crate::page_error::PageError;
use crate::token::Token;
use crate::visit::Visit;

/// The time for a decision.
const PLAN_TIMEOUT: Duration = Duration::from_mins(2);
/// The time for which an answer waits for the end of a change. Then its page shows the progress.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the end of a short change.
pub(super) async fn wait_for(app: &App, number: u64) {
    let mut ends = app.ends();
    let is_over = |(): &()| {
        let ledger = app.ledger();
        ledger.change(number).is_none_or(|it| !it.is_running())
    };
    let _ = tokio::time::timeout(END_TIMEOUT, ends.wait_for(is_over)).await;
}

/// Waits for a decision.
pub(super) async fn in_time<T>(
    deciding: impl Future<Output = Result<T, Failure>>,
) -> Result<T, PageError> {
    match tokio::time::timeout(PLAN_TIMEOUT, deciding).await {
        Ok(decided) => Ok(decided?),
        Err(_) => Err(PageError::Undecided(PLAN_TIMEOUT)),
    }
}

/// Shows the form of a change, with the error of the last attempt.
pub(super) async fn show_form<C: Change>(
    visit: Visit,
    input: &Input,
    error: Option<&PageError>,
) -> Response {
    let view = views::form::<C>(&visit, input, error).await;
    let status = error.map_or(StatusCode::OK, PageError::status);
    visit.answer_with(status, &view)
}

/// Shows the effect of a change, with a new ticket.
pub(super) fn show_effect<C: Change>(
    visit: Visit,
    target: &Target,
    effect: &Effect,
    note: &Note,
) -> Response {
    let Ok(ticket) = Token::random() else {
        return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    visit
        .app
        .ledger()
        .show(ticket.clone(), effect.decision.clone());
    let key = key_need(target, effect.needs_key);
    let status = match note {
        Note::None => StatusCode::OK,
        Note::Changed | Note::TooOld => StatusCode::CONFLICT,
        Note::Busy | Note::Ending => StatusCode::SERVICE_UNAVAILABLE,
        Note::NoPassphrase | Note::Refused(_) => StatusCode::FORBIDDEN,
    };
    let view = views::effect::<C>(&visit, effect, (&key, note), &ticket);
    visit.answer_with(status, &view)
}

fn key_need(target: &Target, is_needed: bool) -> KeyNeed {
    if !is_needed {
        return KeyNeed::None;
    }
    match SessionKey::of(target) {
        Ok(Some(_)) => KeyNeed::None,
        Ok(None) => KeyNeed::Passphrase,
        Err(failure) => KeyNeed::Unreadable(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_decision_that_takes_too_long_is_refused_for_this_reason() {
        let never = std::future::pending::<Result<(), Failure>>();
        let refused = in_time(never).await.unwrap_err();
        assert!(matches!(refused, PageError::Undecided(limit) if limit == PLAN_TIMEOUT));
        assert_eq!(refused.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
