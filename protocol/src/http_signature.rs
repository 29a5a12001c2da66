//! Signed requests: HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530).
//!
//! There is one fixed profile, so that nothing is negotiated: Ed25519 over method, path and
//! body digest. The signature leaves the host out, because a CDN in front of the function
//! replaces it. The `keyid` is the key itself: an agent's id follows from its key, so no key is
//! stored.

use data_encoding::BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use crate::device::AgentId;
use crate::digest::Sha256Digest;
use crate::time::UnixTime;

pub const CONTENT_DIGEST: &str = "content-digest";
pub const SIGNATURE_INPUT: &str = "signature-input";
pub const SIGNATURE: &str = "signature";

/// Largest difference between a request's time and the function's clock, in seconds.
pub const MAX_SKEW_S: u64 = 300;

const LABEL: &str = "packcast";
const TAG: &str = "packcast-v1";
const COMPONENTS: [&str; 3] = ["@method", "@path", "content-digest"];

/// The key pair of a Packcast agent. The `Debug` form shows the id only.
pub struct DeviceKey(Ed25519KeyPair);

/// A seed that gives no key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device key is not a usable Ed25519 seed")]
pub struct DeviceKeyError;

impl DeviceKey {
    /// Creates the key pair of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, DeviceKeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| DeviceKeyError)
    }

    pub fn id(&self) -> AgentId {
        AgentId::of_public_key(&self.public_key())
    }

    fn public_key(&self) -> [u8; 32] {
        let key = self.0.public_key().as_ref();
        key.try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// Returns the headers that sign a request, with lower-case names.
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        now: UnixTime,
    ) -> [(&'static str, String); 3] {
        let digest = content_digest(body);
        let parameters = parameters(&self.public_key(), now);
        let base = signature_base(method, path, &digest, &parameters);
        let signature = BASE64.encode(self.0.sign(base.as_bytes()).as_ref());
        [
            (CONTENT_DIGEST, digest),
            (SIGNATURE_INPUT, format!("{LABEL}={parameters}")),
            (SIGNATURE, format!("{LABEL}=:{signature}:")),
        ]
    }
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKey({})", self.id())
    }
}

/// The parts of a request that its signature covers, and the signature itself.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a [u8],
    pub content_digest: Option<&'a str>,
    pub signature_input: Option<&'a str>,
    pub signature: Option<&'a str>,
}

/// Errors from verifying the signature of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignatureError {
    #[error("the request has no {0} header")]
    Missing(&'static str),
    #[error("the request's {0} header is not in the form of RFC 9421 that Packcast uses")]
    Malformed(&'static str),
    #[error("the request's body does not match its content-digest")]
    Body,
    #[error("the request's signature does not match")]
    Mismatch,
    #[error(
        "the request was signed at {created}, but the function's clock shows {now} (Unix time): set the device's clock"
    )]
    Skew { created: UnixTime, now: UnixTime },
}

/// Verifies a signed request and returns the id of its agent.
pub fn verify(request: SignedRequest<'_>, now: UnixTime) -> Result<AgentId, HttpSignatureError> {
    let digest = request
        .content_digest
        .ok_or(HttpSignatureError::Missing(CONTENT_DIGEST))?;
    let input = request
        .signature_input
        .ok_or(HttpSignatureError::Missing(SIGNATURE_INPUT))?;
    let signature = request
        .signature
        .ok_or(HttpSignatureError::Missing(SIGNATURE))?;
    let (key, created) = read_input(input).ok_or(HttpSignatureError::Malformed(SIGNATURE_INPUT))?;
    let signature = read_signature(signature).ok_or(HttpSignatureError::Malformed(SIGNATURE))?;
    // There is one spelling of the header, so its text is compared.
    if digest != content_digest(request.body) {
        return Err(HttpSignatureError::Body);
    }
    // The base is built from the parsed values, so a header cannot carry unsigned text.
    let base = signature_base(
        request.method,
        request.path,
        digest,
        &parameters(&key, created),
    );
    UnparsedPublicKey::new(&ED25519, key)
        .verify(base.as_bytes(), &signature)
        .map_err(|_| HttpSignatureError::Mismatch)?;
    // The time is checked last: a wrong clock is reported only for a valid signature.
    if created.since(now).max(now.since(created)) > MAX_SKEW_S {
        return Err(HttpSignatureError::Skew { created, now });
    }
    Ok(AgentId::of_public_key(&key))
}

fn content_digest(body: &[u8]) -> String {
    format!(
        "sha-256=:{}:",
        BASE64.encode(Sha256Digest::of(body).as_bytes())
    )
}

fn parameters(key: &[u8; 32], created: UnixTime) -> String {
    let components = COMPONENTS.map(|name| format!("{name:?}")).join(" ");
    let key = BASE64.encode(key);
    format!("({components});created={created};keyid=\"{key}\";alg=\"ed25519\";tag=\"{TAG}\"")
}

/// Returns the signature base of RFC 9421 §2.5.
fn signature_base(method: &str, path: &str, digest: &str, parameters: &str) -> String {
    format!(
        "\"@method\": {method}\n\"@path\": {path}\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}"
    )
}

fn read_input(text: &str) -> Option<([u8; 32], UnixTime)> {
    let dictionary: Dictionary = Parser::new(text).parse().ok()?;
    let ListEntry::InnerList(InnerList { params, .. }) = dictionary.get(LABEL)? else {
        return None;
    };
    let BareItem::Integer(created) = params.get("created")? else {
        return None;
    };
    let created = UnixTime(u64::try_from(i64::from(*created)).ok()?);
    let BareItem::String(key) = params.get("keyid")? else {
        return None;
    };
    let key = BASE64
        .decode(key.as_str().as_bytes())
        .ok()?
        .try_into()
        .ok()?;
    Some((key, created))
}

fn read_signature(text: &str) -> Option<Vec<u8>> {
    let dictionary: Dictionary = Parser::new(text).parse().ok()?;
    match dictionary.get(LABEL)? {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => Some(bytes.clone()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn signed(
        headers: &[(&'static str, String); 3],
        method: &str,
        path: &str,
        body: &[u8],
        now: u64,
    ) -> Result<AgentId, HttpSignatureError> {
        let [digest, input, signature] = headers.each_ref().map(|(_, value)| Some(value.as_str()));
        let request = SignedRequest {
            method,
            path,
            body,
            content_digest: digest,
            signature_input: input,
            signature,
        };
        verify(request, UnixTime(now))
    }

    #[test]
    fn a_signed_request_names_its_agent() {
        let key = DeviceKey::from_seed(&[3; 32]).unwrap();
        let headers = key.sign("POST", "/v1/check-in", b"{}", NOW);
        assert_eq!(
            signed(&headers, "POST", "/v1/check-in", b"{}", NOW.0 + 300),
            Ok(key.id())
        );
        assert_eq!(
            signed(&headers, "POST", "/v1/report", b"{}", NOW.0),
            Err(HttpSignatureError::Mismatch)
        );
        assert_eq!(
            signed(&headers, "PUT", "/v1/check-in", b"{}", NOW.0),
            Err(HttpSignatureError::Mismatch)
        );
        assert_eq!(
            signed(&headers, "POST", "/v1/check-in", b"{ }", NOW.0),
            Err(HttpSignatureError::Body)
        );
        for late in [NOW.0 + 301, NOW.0 - 301] {
            assert!(matches!(
                signed(&headers, "POST", "/v1/check-in", b"{}", late),
                Err(HttpSignatureError::Skew { .. })
            ));
        }
    }

    #[test]
    fn another_key_or_time_in_the_header_breaks_the_signature() {
        let key = DeviceKey::from_seed(&[3; 32]).unwrap();
        let other = DeviceKey::from_seed(&[4; 32]).unwrap();
        let mut headers = key.sign("POST", "/", b"", NOW);
        headers[1].1 = other.sign("POST", "/", b"", NOW)[1].1.clone();
        assert_eq!(
            signed(&headers, "POST", "/", b"", NOW.0),
            Err(HttpSignatureError::Mismatch)
        );
        let mut headers = key.sign("POST", "/", b"", NOW);
        headers[1].1 = key.sign("POST", "/", b"", NOW.plus(1))[1].1.clone();
        assert_eq!(
            signed(&headers, "POST", "/", b"", NOW.0),
            Err(HttpSignatureError::Mismatch)
        );
        headers[1].1 = "nonsense".to_owned();
        assert_eq!(
            signed(&headers, "POST", "/", b"", NOW.0),
            Err(HttpSignatureError::Malformed(SIGNATURE_INPUT))
        );
    }

    #[test]
    fn the_signature_base_follows_rfc_9421() {
        let base = signature_base(
            "POST",
            "/v1/check-in",
            &content_digest(b"{}"),
            &parameters(&[0; 32], NOW),
        );
        let expected = concat!(
            "\"@method\": POST\n",
            "\"@path\": /v1/check-in\n",
            "\"content-digest\": sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:\n",
            "\"@signature-params\": (\"@method\" \"@path\" \"content-digest\");created=1795000000;",
            "keyid=\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\";alg=\"ed25519\";tag=\"packcast-v1\"",
        );
        assert_eq!(base, expected);
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(DeviceKeyError, @"the device key is not a usable Ed25519 seed");
        insta::assert_snapshot!(messages([
            HttpSignatureError::Missing(SIGNATURE),
            HttpSignatureError::Malformed(SIGNATURE_INPUT),
            HttpSignatureError::Body,
            HttpSignatureError::Mismatch,
            HttpSignatureError::Skew {
                created: NOW,
                now: NOW.plus(3600),
            },
        ]), @"
        the request has no signature header
        the request's signature-input header is not in the form of RFC 9421 that Packcast uses
        the request's body does not match its content-digest
        the request's signature does not match
        the request was signed at 1795000000, but the function's clock shows 1795003600 (Unix time): set the device's clock
        ");
    }
}
