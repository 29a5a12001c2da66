//! What becomes of an attempt that is called off.

use packcast_protocol::UnixTime;
use packcast_protocol::api::Cancel;
use packcast_protocol::result::NamedCode;

use crate::history::History;
use crate::journal::{Fetching, Finished, Found, Journal};

/// Decides the one result of an attempt that is not wanted any more; none for as long as the
/// package is being acted on, or has a later attempt.
///
/// An attempt that came to a result keeps it. One that this device never heard of is called
/// off like any other, so that the record of it comes to an end.
pub(crate) fn cancel(
    cancel: Cancel,
    history: &History,
    found: Option<&Found>,
    now: UnixTime,
) -> Option<Finished> {
    let Cancel { id, attempt } = cancel;
    let concluded = |code, reason| Some(Finished::concluded(id, attempt, code, reason, now));
    if let Some(finished) = history.attempt(id, attempt) {
        return Some(finished.clone());
    }
    match found {
        Some(Found::Unreadable { path }) => {
            let reason = format!(
                "called off, but journal {} does not read, so what was done is not known",
                path.display()
            );
            concluded(NamedCode::Interrupted, &reason)
        }
        Some(Found::Read(journal)) if journal.attempt() > attempt => None,
        Some(Found::Read(Journal::Acting { .. })) => None,
        Some(Found::Read(Journal::Finished(finished))) if finished.report.attempt == attempt => {
            Some(finished.clone())
        }
        Some(Found::Read(Journal::Fetching(Fetching {
            attempt: begun,
            interrupted: true,
            ..
        }))) if *begun == attempt => concluded(
            NamedCode::Interrupted,
            "the agent stopped while it acted on the package, which was called off before it was done again",
        ),
        Some(Found::Read(Journal::Fetching(_) | Journal::Finished(_))) | None => {
            concluded(NamedCode::Cancelled, "called off before anything was done")
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::PackageId;

    use super::*;
    use crate::journal::Named;

    const ATTEMPT: u32 = 2;
    const NOW: UnixTime = UnixTime(1_795_000_900);

    fn id() -> PackageId {
        PackageId::try_from(1_795_000_000).unwrap()
    }

    fn finished(attempt: u32) -> Finished {
        Finished::concluded(id(), attempt, NamedCode::Execute, "", NOW)
    }

    fn fetching(attempt: u32, interrupted: bool) -> Journal {
        Journal::Fetching(Fetching {
            attempt,
            since: None,
            interrupted,
        })
    }

    fn acting(attempt: u32) -> Journal {
        let package = Named {
            name: "x".parse().unwrap(),
            version: "1".parse().unwrap(),
        };
        Journal::Acting {
            attempt,
            package,
            may_repeat: true,
        }
    }

    /// Holds what attempt 2 ends with if it is called off, given what is on disk.
    fn check(history: &[u32], journal: Option<Journal>, expected: Option<&str>) {
        let mut past = History::default();
        for attempt in history {
            past.insert(finished(*attempt));
        }
        let called_off = Cancel {
            id: id(),
            attempt: ATTEMPT,
        };
        let shown = format!("{history:?} {journal:?}");
        let found = journal.map(Found::Read);
        let result = cancel(called_off, &past, found.as_ref(), NOW);
        let code = result.as_ref().map(|result| result.report.code.to_string());
        assert_eq!(code.as_deref(), expected, "{shown}");
        assert!(
            result.is_none_or(|result| result.report.attempt == ATTEMPT),
            "{shown}"
        );
    }

    #[test]
    fn what_was_not_acted_on_is_cancelled() {
        let cancelled = Some("CANCELLED");
        check(&[], None, cancelled);
        check(&[1, 3], None, cancelled);
        check(&[], Some(fetching(2, false)), cancelled);
        check(&[], Some(fetching(1, true)), cancelled);
        check(&[], Some(Journal::Finished(finished(1))), cancelled);
    }

    #[test]
    fn what_was_acted_on_keeps_its_result() {
        check(&[2], None, Some("ERR_EXECUTE"));
        check(
            &[],
            Some(Journal::Finished(finished(2))),
            Some("ERR_EXECUTE"),
        );
        check(&[], Some(fetching(2, true)), Some("ERR_INTERRUPTED"));
        check(&[], Some(acting(2)), None);
    }

    #[test]
    fn a_later_attempt_goes_on() {
        check(&[], Some(fetching(3, false)), None);
        check(&[], Some(acting(3)), None);
        check(&[], Some(Journal::Finished(finished(3))), None);
    }

    #[test]
    fn what_does_not_read_may_have_been_done() {
        let found = Found::Unreadable {
            path: "journal.json".into(),
        };
        let called_off = Cancel {
            id: id(),
            attempt: ATTEMPT,
        };
        let result = cancel(called_off, &History::default(), Some(&found), NOW).unwrap();
        assert_eq!(result.report.code, NamedCode::Interrupted.into());
    }
}
