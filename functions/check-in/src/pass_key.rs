//! The pass key of a target, and the passes that the function creates with it.

use std::fmt;

use data_encoding::HEXLOWER;
use packcast_protocol::AgentId;
use packcast_protocol::api::Secret;
use packcast_protocol::device::BASE32_LOWER;
use packcast_protocol::enrolment::{BatchKey, EnrolmentBatch};
use ring::hmac;

/// The key of a target, 32 random bytes: it creates and verifies the passes of the target's
/// agents, and verifies the tokens of enrolment batches.
///
/// A pass is a message authentication code over an agent's id. With it, the function knows an
/// enrolled agent without a read of the table. The pass is worth nothing without the agent's
/// own key.
#[derive(Clone)]
pub struct PassKey {
    passes: hmac::Key,
    batches: BatchKey,
}

impl PassKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self {
            passes: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            batches: BatchKey::of_pass_key(&bytes),
        }
    }

    /// Parses a key of 64 lower-case hexadecimal digits.
    ///
    /// Zeros are no key: they come from a damaged file, and everybody can compute passes with them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        (bytes != [0; 32]).then(|| Self::new(bytes))
    }

    /// Creates the pass of an agent.
    pub(crate) fn pass(&self, agent: &AgentId) -> Secret {
        let code = hmac::sign(&self.passes, agent.as_str().as_bytes());
        BASE32_LOWER
            .encode(code.as_ref())
            .parse()
            .expect("52 letters and digits are a secret")
    }

    /// Returns whether this key created the pass for this agent.
    pub(crate) fn verifies(&self, agent: &AgentId, pass: &Secret) -> bool {
        BASE32_LOWER
            .decode(pass.reveal().as_bytes())
            .is_ok_and(|code| hmac::verify(&self.passes, agent.as_str().as_bytes(), &code).is_ok())
    }

    /// Returns the batch of an enrolment token, if the token was created with this key.
    pub(crate) fn batch(&self, token: &Secret) -> Option<EnrolmentBatch> {
        self.batches.verify(token)
    }
}

impl fmt::Debug for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_lower_case_hexadecimal_digits() {
        let agent = AgentId::of_public_key(&[1; 32]);
        let key = PassKey::from_hex(&"0a".repeat(32)).unwrap();
        assert!(PassKey::new([10; 32]).verifies(&agent, &key.pass(&agent)));
        for bad in [
            "",
            "0a",
            &"0A".repeat(32),
            &"0a".repeat(33),
            &"0".repeat(64),
        ] {
            assert!(PassKey::from_hex(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_pass_is_valid_for_one_agent_and_one_key() {
        let (one, other) = (PassKey::new([9; 32]), PassKey::new([8; 32]));
        let agent = AgentId::of_public_key(&[1; 32]);
        let pass = one.pass(&agent);
        assert!(one.verifies(&agent, &pass));
        assert!(!other.verifies(&agent, &pass));
        assert!(!one.verifies(&AgentId::of_public_key(&[2; 32]), &pass));
    }
}
