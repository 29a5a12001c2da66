//! Facts about the machine and its system, as the system shows them.

use std::path::PathBuf;

/// The operating system: its name and its version. `None` if the system does not show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemName {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
}

/// Facts that rarely change. A fact that the system does not show is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundFacts {
    pub(crate) domain: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) time_zone: Option<String>,
    /// The main volumes on disks of the machine, the most important first.
    pub(crate) volumes: Vec<PathBuf>,
}

/// Texts that vendors leave in the place of a name.
const PLACEHOLDERS: [&str; 9] = [
    "default string",
    "none",
    "not applicable",
    "not specified",
    "o.e.m.",
    "system manufacturer",
    "system product name",
    "to be filled by o.e.m.",
    "unknown",
];

/// Returns vendor and model of a machine. Lenovo stores the name of the model as the version.
pub(crate) fn model(
    vendor: Option<&str>,
    product: Option<&str>,
    version: Option<&str>,
) -> Option<String> {
    let named = |text: Option<&str>| {
        text.map(str::trim)
            .filter(|text| is_name(text))
            .map(str::to_owned)
    };
    let vendor = named(vendor);
    let is_lenovo = vendor
        .as_ref()
        .is_some_and(|vendor| vendor.eq_ignore_ascii_case("lenovo"));
    let product = match named(version).filter(|_| is_lenovo) {
        Some(version) => Some(version),
        None => named(product),
    };
    match (vendor, product) {
        (Some(vendor), Some(product)) if !product.starts_with(&vendor) => {
            Some(format!("{vendor} {product}"))
        }
        (vendor, None) => vendor,
        (_, product) => product,
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !PLACEHOLDERS.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns memory in MiB, rounded to 64 MiB: the part that the kernel takes varies with its version.
#[cfg(any(unix, test))]
pub(crate) fn rounded_memory(bytes: u64) -> Option<u32> {
    const STEP: u64 = 64 << 20;
    u32::try_from(bytes.saturating_add(STEP / 2) / STEP * 64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_vendor_once_and_no_placeholder() {
        let check = |texts: [&str; 3], expected: Option<&str>| {
            let [vendor, product, version] = texts.map(Some);
            assert_eq!(
                model(vendor, product, version).as_deref(),
                expected,
                "{texts:?}"
            );
        };
        check(
            ["Dell Inc.\n", "Latitude 7490\n", ""],
            Some("Dell Inc. Latitude 7490"),
        );
        check(
            ["HP", "HP EliteBook 840 G5", "x"],
            Some("HP EliteBook 840 G5"),
        );
        check(
            ["LENOVO", "20XWCTO1WW", "ThinkPad X1"],
            Some("LENOVO ThinkPad X1"),
        );
        check(["To Be Filled By O.E.M.", "Default string", ""], None);
        check(["QEMU", "", ""], Some("QEMU"));
        assert_eq!(
            model(None, Some("Raspberry Pi 4"), None).as_deref(),
            Some("Raspberry Pi 4")
        );
    }

    #[test]
    fn memory_is_rounded() {
        assert_eq!(rounded_memory(16_318_480 << 10), Some(15_936));
        assert_eq!(rounded_memory(16_340_000 << 10), Some(15_936));
        assert_eq!(rounded_memory(0), Some(0));
        assert_eq!(rounded_memory(u64::MAX), None);
    }
}
