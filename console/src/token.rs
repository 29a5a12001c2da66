//! Secrets of a console: random, compared in constant time, and never shown by accident.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq as _;

/// The number of random bytes.
const BYTES: usize = 20;

/// The length of the label of the console's host name.
const LABEL: usize = 20;

/// A random secret of 160 bits, as text of 32 letters and digits.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// Returns true if a text is this secret. The time does not depend on the place of a difference.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Returns the text of the secret.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns a label of a host name from this random value.
    pub(crate) fn host_label(&self) -> String {
        self.0.chars().take(LABEL).collect()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_and_not_shown() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert!(!one.is(other.reveal()) && !one.is("") && one.is(one.reveal()));
        assert_eq!(one.reveal().len(), 32);
        assert_eq!(format!("{one:?}"), "Token(..)");
    }
}
