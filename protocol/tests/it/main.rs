//! The wire forms, held against recorded and composed examples.

mod document;
mod golden;
mod info;
mod replies;
mod requests;
