//! `packcast status --watch`: shows the status again after each change.

use std::time::Duration;

use packcast_publisher::Failure;
use tokio::time::sleep;

use crate::output::{self, Format};

/// Time between two reads of the status.
const PAUSE: Duration = Duration::from_secs(5);

/// Refuses formats for scripts: the output would be no document.
pub(super) fn check_format(format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => Ok(()),
        Format::Json | Format::Csv => Err(Failure::usage(
            "cannot watch a status with --format: each change is a new result",
        )
        .hint("run 'packcast wait' in a script")),
    }
}

/// Prints the text that `read` returns after each change, until the program is interrupted.
pub(super) async fn watch(read: impl AsyncFn() -> Result<String, Failure>) -> Result<(), Failure> {
    let mut shown = None;
    loop {
        let text = read().await?;
        if shown.as_ref() != Some(&text) {
            output::data_again(&text);
            shown = Some(text);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn only_people_watch() {
        assert!(check_format(Format::Text).is_ok());
        assert_snapshot!(check_format(Format::Json).unwrap_err(), @"
        cannot watch a status with --format: each change is a new result
        hint: run 'packcast wait' in a script
        ");
    }
}
