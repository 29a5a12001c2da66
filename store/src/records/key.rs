//! Where each record is.
