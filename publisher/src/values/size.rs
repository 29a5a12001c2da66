//! Sizes as an administrator types them, such as `1MiB`.

/// The units of sizes, as in GNU's tools: `MB` is a million bytes, `MiB` and `M` are 1,048,576.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// Error for a text that is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 1MiB, 64KiB, 1MB or 1048576")]
pub struct SizeError;

/// Reads a number of bytes with an optional unit. The case of the unit does not matter.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim_start().to_ascii_lowercase();
    let bytes = || {
        let number: u64 = number.parse().ok()?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*bytes)
    };
    bytes().ok_or(SizeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_gnu_tools_in_any_case() {
        for (text, bytes) in [
            ("1MB", 1_000_000),
            ("1mb", 1_000_000),
            ("1MiB", 1 << 20),
            ("1m", 1 << 20),
            ("1M", 1 << 20),
            ("64 KiB", 65_536),
            ("64k", 65_536),
            (" 2kB ", 2_000),
            ("4GiB", 1 << 32),
            ("1GB", 1_000_000_000),
            ("2T", 2 << 40),
            ("3TiB", 3 << 40),
            ("1tb", 1_000_000_000_000),
            ("1048576", 1 << 20),
            ("512B", 512),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_form() {
        for bad in [
            "",
            "MiB",
            "-1MiB",
            "1.5MiB",
            "1 000",
            "1mm",
            "1Mbit",
            "99999999999999999999GiB",
        ] {
            assert_eq!(parse(bad), Err(SizeError), "{bad:?}");
        }
        insta::assert_snapshot!(SizeError, @"expected a size such as 1MiB, 64KiB, 1MB or 1048576");
    }
}
