//! What the function is configured with.

use packcast_protocol::Sha256Digest;

/// The settings of one target. Secrets are kept as digests where they are only compared.
#[derive(Clone)]
pub struct Settings {
    /// Digests of the path tokens of stock agents (`/ocsinventory/<token>`), any of which is let in.
    pub path_tokens: Vec<Sha256Digest>,
    /// Digests of the enrolment tokens of our agents, any of which is let in.
    pub enrolment_tokens: Vec<Sha256Digest>,
    /// The key that passes are made with: 32 random bytes.
    pub pass_key: [u8; 32],
    /// How often our agents ask, in seconds.
    pub check_in_interval_s: u32,
    /// Announces one priority level at a time.
    pub strict: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("path_tokens", &self.path_tokens.len())
            .field("enrolment_tokens", &self.enrolment_tokens.len())
            .field("check_in_interval_s", &self.check_in_interval_s)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}
