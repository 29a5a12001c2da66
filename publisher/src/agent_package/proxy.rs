//! The proxy of devices.

use std::fmt;
use std::str::FromStr;

/// Address of a proxy: `http://host:port`, possibly with the name and password of a user.
///
/// The text needs no quotes in a file of environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress(String);

/// Text that is not the address of a proxy. The text may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a proxy: write http://host:port")]
pub struct ProxyAddressError(());

impl FromStr for ProxyAddress {
    type Err = ProxyAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let schemes = ["http://", "https://"];
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"'\"\\`$#;".contains(&byte);
        match rest {
            Some(rest) if !rest.is_empty() && rest.bytes().all(is_plain) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ProxyAddressError(())),
        }
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_needs_no_quotes() {
        for good in ["http://proxy.example:3128", "https://user:p%40ss@[::1]:80/"] {
            assert_eq!(good.parse::<ProxyAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "proxy.example:3128",
            "http://",
            "ftp://proxy",
            "http://a b",
            "http://a\nX=1",
            "http://a'b",
            "http://$(reboot)",
        ] {
            assert!(bad.parse::<ProxyAddress>().is_err(), "{bad}");
        }
        insta::assert_snapshot!(
            ProxyAddressError(()),
            @"not the address of a proxy: write http://host:port"
        );
    }
}
