//! Objects and records: the only place that spells a key, a header, a table or an attribute name.

/// The one table.
#[derive(Clone, Debug)]
pub struct Records;
