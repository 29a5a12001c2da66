//! Enrolment batches on record, and the revocation of their tokens.

use std::str::FromStr;

use packcast_protocol::enrolment::{BatchId, BatchName, BatchNameError};
use packcast_store::records::BatchRecord;
use serde::Serialize;

use crate::failure::Failure;
use crate::target::Target;

/// The id or the name of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchReference {
    Id(BatchId),
    Name(BatchName),
}

impl FromStr for BatchReference {
    type Err = BatchNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Name),
        }
    }
}

/// The result of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchRevoked {
    pub batch: BatchId,
    /// `false` if the token was revoked already.
    pub changed: bool,
}

/// Errors from finding a batch by its name.
#[derive(Debug, thiserror::Error)]
enum FindBatchError {
    #[error(
        "no batch with the name {name} is on record: a batch is on record from its first enrolment, so pass its id, which 'packcast token' printed"
    )]
    None { name: BatchName },
    #[error(
        "several batches have the name {name}: pass the id of one of them: {}",
        ids(batches)
    )]
    Several {
        name: BatchName,
        batches: Vec<BatchId>,
    },
}

fn ids(batches: &[BatchId]) -> String {
    let ids: Vec<&str> = batches.iter().map(BatchId::as_str).collect();
    ids.join(", ")
}

/// Returns the batches on record, in the order of their ids.
pub async fn list_batches(target: &Target) -> Result<Vec<BatchRecord>, Failure> {
    Ok(target.records.batches().await?)
}

/// Revokes the token of a batch: it enrols no further device. Devices that have enrolled stay
/// enrolled.
pub async fn revoke_batch(
    target: &Target,
    reference: &BatchReference,
) -> Result<BatchRevoked, Failure> {
    let batch = match reference {
        BatchReference::Id(id) => id.clone(),
        BatchReference::Name(name) => {
            let batches = target.records.batches().await?;
            of_name(name, batches.into_iter().map(|record| record.batch))
                .map_err(Failure::failed)?
        }
    };
    let by = target.changed_by();
    let changed = target.records.revoke_batch(&batch, &by).await?;
    Ok(BatchRevoked { batch, changed })
}

fn of_name(
    name: &BatchName,
    batches: impl Iterator<Item = BatchId>,
) -> Result<BatchId, FindBatchError> {
    let mut found: Vec<BatchId> = batches
        .filter(|batch| batch.name() == Some(name.as_str()))
        .collect();
    let name = name.clone();
    match found.len() {
        0 => Err(FindBatchError::None { name }),
        1 => Ok(found.remove(0)),
        _ => Err(FindBatchError::Several {
            name,
            batches: found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_one_batch() {
        let [berlin, bonn]: [BatchName; 2] = ["berlin", "bonn"].map(|name| name.parse().unwrap());
        let id = |name, n| BatchId::new(name, [n; 16]);
        let batches = [
            id(None, 1),
            id(Some(&berlin), 2),
            id(Some(&bonn), 3),
            id(Some(&bonn), 4),
        ];
        let find = |name: &BatchName| of_name(name, batches.iter().cloned());
        assert_eq!(find(&berlin).unwrap(), batches[1]);
        let errors = [find(&"rom".parse().unwrap()), find(&bonn)];
        let lines = errors.map(|error| error.unwrap_err().to_string());
        insta::assert_snapshot!(lines.join("\n"), @"
        no batch with the name rom is on record: a batch is on record from its first enrolment, so pass its id, which 'packcast token' printed
        several batches have the name bonn: pass the id of one of them: bonn-ambqgaydambqgaydambqgaydam, bonn-aqcaibaeaqcaibaeaqcaibaeaq
        ");
    }

    #[test]
    fn a_reference_is_an_id_or_a_name() {
        let id = BatchId::new(None, [7; 16]);
        let parsed = |text: &str| text.parse::<BatchReference>();
        assert_eq!(parsed(id.as_str()), Ok(BatchReference::Id(id.clone())));
        assert_eq!(
            parsed("berlin"),
            Ok(BatchReference::Name("berlin".parse().unwrap()))
        );
        assert!(parsed("Berlin").is_err());
    }
}
