//! Errors of single records, which do not stop the others.

use std::collections::BTreeMap;

use packcast_protocol::state::LeafName;
use packcast_store::RecordsError;

/// Number of leaves that the error names.
const NAMED: usize = 3;

/// Records that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot complete the records of {names}")]
pub struct FailedRecords {
    names: String,
    is_retryable: bool,
    source: RecordsError,
}

impl FailedRecords {
    /// Returns the error for these leaves. `None` if there are none.
    pub(super) fn new(failed: BTreeMap<LeafName, RecordsError>) -> Option<Self> {
        let is_retryable = failed.values().all(RecordsError::is_retryable);
        let names: Vec<String> = failed.keys().take(NAMED).map(ToString::to_string).collect();
        let others = failed.len() - names.len();
        let others = (others > 0).then(|| format!(" and {others} more"));
        let names = names.join(", ") + &others.unwrap_or_default();
        let source = failed.into_values().next()?;
        Some(Self {
            names,
            is_retryable,
            source,
        })
    }

    /// Returns true if other changes were the only cause, so that a later command may succeed.
    pub(super) const fn is_retryable(&self) -> bool {
        self.is_retryable
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::with_causes;

    use super::*;

    fn failed(count: u32) -> String {
        let leaf = |number: u32| {
            let group = format!("g{number}").parse().expect("it is a group");
            let error = RecordsError::Corrupt {
                key: format!("GROUP#g{number} STATE"),
                source: "missing field".into(),
            };
            (LeafName::Group(group), error)
        };
        let failed = FailedRecords::new((1..=count).map(leaf).collect());
        failed.map_or_else(String::new, |failed| with_causes(&failed))
    }

    #[test]
    fn the_first_records_are_named() {
        insta::assert_snapshot!([0, 1, 3, 5].map(failed).join("\n"), @r"

        cannot complete the records of group/g1: record GROUP#g1 STATE is invalid: missing field
        cannot complete the records of group/g1, group/g2, group/g3: record GROUP#g1 STATE is invalid: missing field
        cannot complete the records of group/g1, group/g2, group/g3 and 2 more: record GROUP#g1 STATE is invalid: missing field
        ");
    }
}
