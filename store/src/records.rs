//! Records: one DynamoDB table, and what is asked of it.
//!
//! Every question is one Query, or reads by key; nothing scans.

mod announce;
mod assign;
mod backoff;
mod commit;
mod connect;
mod device;
mod error;
mod group;
mod host;
mod index;
mod item;
mod key;
mod keys;
mod known;
mod location;
mod membership;
mod order;
mod own;
mod pace;
mod package;
mod read;
mod renew;
mod report;
mod reserve;
mod signing;
mod table;
mod tally;
mod task;
mod write;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;

pub use announce::{Announced, Announcing};
pub use connect::RecordsConfig;
pub use device::Standing;
pub use error::{RecordsError, TableFault};
pub use group::{GroupChanged, GroupError, Versions};
pub use index::DeviceState;
pub use keys::NumberedKeyList;
pub use known::Known;
pub use membership::Joined;
pub use own::AssignError;
pub use package::{ActivateError, PublishError};
pub use renew::{Renewal, Renewed};
pub use report::Recorded;
pub use reserve::{Reservation, ReserveError, Reserved};
pub use signing::{Sign, SignError, Signing, SigningError};
pub use tally::Tally;

/// The one table of a target.
#[derive(Clone, Debug)]
pub struct Records {
    client: Client,
    table: Arc<str>,
    /// What an operator knows the service by: an address, or a region.
    endpoint: Arc<str>,
}

impl Records {
    pub fn table(&self) -> &str {
        &self.table
    }
}
