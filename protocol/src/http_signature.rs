//! Signed requests: HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530).
//!
//! There is one fixed profile, so that nothing is negotiated: Ed25519 over method, path, body
//! digest and the header that admits the request. The signature leaves the host out, because a
//! CDN in front of the function replaces it. The `keyid` is the key itself: an agent's id follows
//! from its key, so no key is stored.

use data_encoding::BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use crate::api::{ADMISSION, Admission};
use crate::device::AgentId;
use crate::digest::Sha256Digest;
use crate::time::UnixTime;

pub const CONTENT_DIGEST: &str = "content-digest";
pub const SIGNATURE_INPUT: &str = "signature-input";
pub const SIGNATURE: &str = "signature";

/// Largest difference between a request's time and the function's clock, in seconds.
pub const MAX_SKEW_S: u64 = 300;

/// Largest value of each header that belongs to the signature, in bytes.
///
/// The longest value that an agent sends is its signature input, with 175 bytes.
pub const MAX_HEADER_BYTES: usize = 512;

const LABEL: &str = "packcast";
const TAG: &str = "packcast-v1";
const COMPONENTS: [&str; 4] = ["@method", "@path", CONTENT_DIGEST, ADMISSION];

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

    /// Returns the headers that admit and sign a request, with lower-case names.
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        admission: &Admission,
        body: &[u8],
        now: UnixTime,
    ) -> [(&'static str, String); 4] {
        let digest = content_digest(body);
        let admission = admission.to_header();
        let parameters = parameters(&self.public_key(), now);
        let base = signature_base(method, path, &digest, &admission, &parameters);
        let signature = BASE64.encode(self.0.sign(base.as_bytes()).as_ref());
        [
            (ADMISSION, admission),
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

/// The headers of a signed request. They have the form of a signature, which is not verified yet.
///
/// So the function can decide on admission before it processes a request: reading the headers needs
/// neither the body nor a signature check.
#[derive(Clone, Debug)]
pub struct SignedHeaders<'a> {
    admission: Admission,
    content_digest: &'a str,
    key: [u8; 32],
    created: UnixTime,
    signature: Vec<u8>,
}

/// Errors from reading the headers of a request, or from verifying its signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignatureError {
    #[error("the request has no {ADMISSION} header with a pass or an enrolment token")]
    NoAdmission,
    #[error("the request has no {0} header")]
    Missing(&'static str),
    #[error("the request has more than one {0} header")]
    Repeated(&'static str),
    #[error("the request's {0} header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong(&'static str),
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

impl<'a> SignedHeaders<'a> {
    /// Reads the headers of a request, given with lower-case names and in any order.
    pub fn read(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, HttpSignatureError> {
        let names = [ADMISSION, CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE];
        let mut found: [Option<&[u8]>; 4] = [None; 4];
        for (name, value) in headers {
            let Some(index) = names.iter().position(|known| *known == name) else {
                continue;
            };
            // The lengths come first, so that no parser sees a long value.
            if value.len() > MAX_HEADER_BYTES {
                return Err(HttpSignatureError::TooLong(names[index]));
            }
            if found[index].replace(value).is_some() {
                return Err(HttpSignatureError::Repeated(names[index]));
            }
        }
        let [admission, content_digest, input, signature] = found;
        let admission = admission
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
            .ok_or(HttpSignatureError::NoAdmission)?;
        let (key, created) = read_input(text(SIGNATURE_INPUT, input)?)
            .ok_or(HttpSignatureError::Malformed(SIGNATURE_INPUT))?;
        let signature = read_signature(text(SIGNATURE, signature)?)
            .ok_or(HttpSignatureError::Malformed(SIGNATURE))?;
        Ok(Self {
            admission,
            content_digest: text(CONTENT_DIGEST, content_digest)?,
            key,
            created,
            signature,
        })
    }

    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns the agent that the request names. Only [`SignedHeaders::verify`] proves that this
    /// agent has sent the request.
    pub fn named_agent(&self) -> AgentId {
        AgentId::of_public_key(&self.key)
    }

    /// Verifies the signature over a request, and returns the id of its agent.
    pub fn verify(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        now: UnixTime,
    ) -> Result<AgentId, HttpSignatureError> {
        // There is one spelling of the header, so its text is compared.
        if self.content_digest != content_digest(body) {
            return Err(HttpSignatureError::Body);
        }
        // The base is built from the parsed values, so a header cannot carry unsigned text.
        let base = signature_base(
            method,
            path,
            self.content_digest,
            &self.admission.to_header(),
            &parameters(&self.key, self.created),
        );
        UnparsedPublicKey::new(&ED25519, self.key)
            .verify(base.as_bytes(), &self.signature)
            .map_err(|_| HttpSignatureError::Mismatch)?;
        // The time is checked last: a wrong clock is reported only for a valid signature.
        let created = self.created;
        if created.since(now).max(now.since(created)) > MAX_SKEW_S {
            return Err(HttpSignatureError::Skew { created, now });
        }
        Ok(self.named_agent())
    }
}

fn text<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<&'a str, HttpSignatureError> {
    let value = value.ok_or(HttpSignatureError::Missing(name))?;
    std::str::from_utf8(value).map_err(|_| HttpSignatureError::Malformed(name))
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
fn signature_base(
    method: &str,
    path: &str,
    digest: &str,
    admission: &str,
    parameters: &str,
) -> String {
    format!(
        "\"@method\": {method}\n\"@path\": {path}\n\"{CONTENT_DIGEST}\": {digest}\n\"{ADMISSION}\": {admission}\n\"@signature-params\": {parameters}"
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
    const PATH: &str = "/v1/check-in";

    type Headers = [(&'static str, String); 4];

    fn pass(text: &str) -> Admission {
        Admission::Pass(text.parse().unwrap())
    }

    fn key(number: u8) -> DeviceKey {
        DeviceKey::from_seed(&[number; 32]).unwrap()
    }

    /// Returns the headers of a request with the body `{}`.
    fn signed() -> Headers {
        key(3).sign("POST", PATH, &pass("0123456789abcdef"), b"{}", NOW)
    }

    fn read<'a>(
        headers: &'a [(&'static str, String)],
    ) -> Result<SignedHeaders<'a>, HttpSignatureError> {
        SignedHeaders::read(
            headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes())),
        )
    }

    fn verify(
        headers: &Headers,
        method: &str,
        path: &str,
        body: &[u8],
        now: u64,
    ) -> Result<AgentId, HttpSignatureError> {
        read(headers)?.verify(method, path, body, UnixTime(now))
    }

    #[test]
    fn a_signed_request_names_its_agent() {
        let headers = signed();
        let check = |method, path, body: &[u8]| verify(&headers, method, path, body, NOW.0);
        assert_eq!(read(&headers).unwrap().named_agent(), key(3).id());
        assert_eq!(check("POST", PATH, b"{}"), Ok(key(3).id()));
        assert_eq!(
            check("POST", "/v1/report", b"{}"),
            Err(HttpSignatureError::Mismatch)
        );
        assert_eq!(check("PUT", PATH, b"{}"), Err(HttpSignatureError::Mismatch));
        assert_eq!(check("POST", PATH, b"{ }"), Err(HttpSignatureError::Body));
    }

    #[test]
    fn the_time_of_a_signature_is_near_the_clock() {
        let at = |now| verify(&signed(), "POST", PATH, b"{}", now);
        for near in [NOW.0 + 300, NOW.0 - 300] {
            assert_eq!(at(near), Ok(key(3).id()));
        }
        for far in [NOW.0 + 301, NOW.0 - 301] {
            assert!(matches!(at(far), Err(HttpSignatureError::Skew { .. })));
        }
    }

    #[test]
    fn another_key_time_or_admission_breaks_the_signature() {
        let admission = pass("0123456789abcdef");
        let other_key = key(4).sign("POST", PATH, &admission, b"{}", NOW);
        let other_time = key(3).sign("POST", PATH, &admission, b"{}", NOW.plus(1));
        let other_pass = key(3).sign("POST", PATH, &pass("0123456789abcdeg"), b"{}", NOW);
        let token = Admission::Token("0123456789abcdef".parse().unwrap());
        let as_token = key(3).sign("POST", PATH, &token, b"{}", NOW);
        for (index, other) in [
            (2, other_key),
            (2, other_time),
            (0, other_pass),
            (0, as_token),
        ] {
            let mut headers = signed();
            headers[index] = other[index].clone();
            assert_eq!(
                verify(&headers, "POST", PATH, b"{}", NOW.0),
                Err(HttpSignatureError::Mismatch)
            );
        }
    }

    #[test]
    fn incomplete_headers_are_refused() {
        let without = |name: &'static str| {
            let headers: Vec<_> = signed().into_iter().filter(|h| h.0 != name).collect();
            read(&headers).unwrap_err()
        };
        assert_eq!(without(ADMISSION), HttpSignatureError::NoAdmission);
        for name in [CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
            assert_eq!(without(name), HttpSignatureError::Missing(name));
        }
    }

    #[test]
    fn repeated_and_long_headers_are_refused() {
        for (name, value) in signed() {
            let twice: Vec<_> = signed()
                .into_iter()
                .chain([(name, value.clone())])
                .collect();
            assert_eq!(
                read(&twice).unwrap_err(),
                HttpSignatureError::Repeated(name)
            );
            let mut long = signed();
            for header in long.iter_mut().filter(|header| header.0 == name) {
                header.1 = format!("{value}{}", " ".repeat(MAX_HEADER_BYTES));
            }
            assert_eq!(read(&long).unwrap_err(), HttpSignatureError::TooLong(name));
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let with = |name: &'static str, value: &'static [u8]| {
            let headers = signed();
            let headers = headers.iter().map(|(known, text)| {
                let value = if *known == name {
                    value
                } else {
                    text.as_bytes()
                };
                (*known, value)
            });
            SignedHeaders::read(headers).unwrap_err()
        };
        for value in [
            &b""[..],
            b"nonsense",
            b"pass short",
            b"pass 0123456789abcde\xFF",
        ] {
            assert_eq!(with(ADMISSION, value), HttpSignatureError::NoAdmission);
        }
        assert_eq!(
            with(CONTENT_DIGEST, b"\xFF"),
            HttpSignatureError::Malformed(CONTENT_DIGEST)
        );
        for name in [SIGNATURE_INPUT, SIGNATURE] {
            for value in [&b""[..], b"nonsense", b"packcast=(", b"packcast=1", b"\xFF"] {
                assert_eq!(with(name, value), HttpSignatureError::Malformed(name));
            }
        }
    }

    #[test]
    fn the_longest_headers_of_an_agent_are_accepted() {
        let longest = Admission::Token("x".repeat(128).parse().unwrap());
        let at = UnixTime(999_999_999_999_999);
        let headers = key(3).sign("POST", PATH, &longest, b"", at);
        assert!(read(&headers).is_ok());
        let lengths = headers.map(|(_, value)| value.len());
        assert_eq!(lengths, [134, 54, 175, 99]);
    }

    #[test]
    fn the_signature_base_follows_rfc_9421() {
        let base = signature_base(
            "POST",
            PATH,
            &content_digest(b"{}"),
            "pass 0123456789abcdef",
            &parameters(&[0; 32], NOW),
        );
        let expected = concat!(
            "\"@method\": POST\n",
            "\"@path\": /v1/check-in\n",
            "\"content-digest\": sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:\n",
            "\"packcast-admission\": pass 0123456789abcdef\n",
            "\"@signature-params\": (\"@method\" \"@path\" \"content-digest\" \"packcast-admission\");created=1795000000;",
            "keyid=\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\";alg=\"ed25519\";tag=\"packcast-v1\"",
        );
        assert_eq!(base, expected);
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(DeviceKeyError, @"the device key is not a usable Ed25519 seed");
        insta::assert_snapshot!(messages([
            HttpSignatureError::NoAdmission,
            HttpSignatureError::Missing(SIGNATURE),
            HttpSignatureError::Repeated(SIGNATURE),
            HttpSignatureError::TooLong(SIGNATURE),
            HttpSignatureError::Malformed(SIGNATURE_INPUT),
            HttpSignatureError::Body,
            HttpSignatureError::Mismatch,
            HttpSignatureError::Skew {
                created: NOW,
                now: NOW.plus(3600),
            },
        ]), @"
        the request has no packcast-admission header with a pass or an enrolment token
        the request has no signature header
        the request has more than one signature header
        the request's signature header has more than 512 bytes
        the request's signature-input header is not in the form of RFC 9421 that Packcast uses
        the request's body does not match its content-digest
        the request's signature does not match
        the request was signed at 1795000000, but the function's clock shows 1795003600 (Unix time): set the device's clock
        ");
    }
}
