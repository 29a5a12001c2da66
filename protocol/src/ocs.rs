//! The dialect of stock OCS agents: XML in a compressed envelope, posted to one address.
//!
//! What they send, expect and do wrong is in `docs/ocs-protocol.md`, which all crates cite as the
//! protocol reference.
//!
//! ```text
//! body ── envelope::open ──▶ XML ── Request::parse ──▶ Request
//! body ◀─ envelope::seal ─── XML ◀─ PrologReply::to_xml, INVENTORY_REPLY, DOWNLOAD_REPLY
//! ```

pub mod envelope;
pub mod reply;
pub mod request;

pub use envelope::{Coding, EnvelopeError};
pub use reply::{
    Conf, DOWNLOAD_REPLY, Deployment, INVENTORY_REFUSAL, INVENTORY_REPLY, InventoryAsk, Pack,
    PeriodLength, PrologReply,
};
pub use request::{Inventory, Query, Request, RequestError};
