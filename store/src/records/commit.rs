//! Writing several records at once.
