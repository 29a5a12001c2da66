//! How records are kept as items.
