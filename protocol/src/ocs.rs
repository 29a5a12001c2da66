//! The protocol of OCS agents: XML in a compressed envelope, posted to one address.
//!
//! `docs/ocs-protocol.md` describes the requests, expectations and errors of these agents. All
//! crates cite it as the protocol reference.
//!
//! ```text
//! body ── envelope::open ──▶ XML ── OcsRequest::parse ──▶ OcsRequest
//! body ◀─ envelope::seal ─── XML ◀─ PrologReply::to_xml, INVENTORY_REPLY, DOWNLOAD_REPLY
//! ```

pub mod envelope;
pub mod reply;
pub mod request;

pub use envelope::{Coding, EnvelopeError};
pub use reply::{
    Conf, DOWNLOAD_REPLY, DownloadMode, INVENTORY_REFUSAL, INVENTORY_REPLY, InventoryAsk, Pack,
    PeriodLength, PrologReply,
};
pub use request::{Inventory, OcsRequest, Query, RequestError};
