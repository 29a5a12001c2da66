//! Wire forms, compared with recorded and composed examples.

#![expect(
    clippy::disallowed_methods,
    reason = "the examples are files; only the crate itself is pure"
)]

mod api;
mod document;
mod golden;
mod held;
mod info;
mod reference;
mod replies;
mod requests;
mod schemas;
mod state_vectors;
mod trees;
mod trie_vectors;
