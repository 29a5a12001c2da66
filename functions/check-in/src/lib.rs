//! functions/check-in
