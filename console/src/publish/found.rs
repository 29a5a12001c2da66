//! The pass in an address, and redirects to others.

use axum::response::{IntoResponse as _, Redirect, Response};

use super::wizard::Wizard;
use super::wizards::WizardId;
use crate::page_error::{PageError, named};
use crate::visit::Visit;

/// Returns the pass in an address.
pub(crate) fn found(visit: &Visit, id: &str) -> Result<(WizardId, Wizard), PageError> {
    let id: WizardId = named(id, "package in preparation")?;
    match visit.app.wizards().get(id) {
        Some(wizard) => Ok((id, wizard)),
        None => Err(PageError::NotFound(
            "cannot find this package in preparation: the console has ended since then, or has \
             discarded it"
                .to_owned(),
        )),
    }
}

/// Sends the browser to another page.
pub(crate) fn redirect(path: &str) -> Response {
    Redirect::to(path).into_response()
}
