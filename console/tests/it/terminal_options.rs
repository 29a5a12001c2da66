//! Errors that only an option of a command overcomes: the page has the command to run in a terminal.

use packcast_publisher::local;
use packcast_publisher::signing::NoSecrets;

use crate::changes::lab;
use crate::forms::has;

const FIELDS: &str = "package=tool%401.0&to=groups&group=lab";

#[tokio::test]
async fn a_key_that_is_missing_leads_to_a_command_with_another_key() {
    let system = lab(1086).await;
    let served = system.signed_in().await;
    std::fs::remove_file(&system.target.key_file).unwrap();
    let effect = served.browser.plan("assign", FIELDS).await;
    has(
        &effect,
        &[
            "cannot find the signing key",
            "run the command below in a terminal, with --key and another file",
            "data-copy=\"packcast assign tool@1.0 --group lab --key FILE\"",
        ],
    );
}

#[tokio::test]
async fn a_package_by_another_key_leads_to_a_command_that_accepts_the_key() {
    let system = lab(1087).await;
    let folder = tempfile::tempdir().unwrap();
    let other = local::signing_key(folder.path(), &NoSecrets).unwrap();
    system.publish_by(&other, "foreign", "2").await;
    let served = system.signed_in().await;
    let fields = "package=foreign%402&to=groups&group=lab";
    let (_, result) = served.browser.make("assign", fields).await;
    has(
        &result,
        &[
            "Assign a package: failed",
            "no signed manifest has the name foreign@2",
            "run the command below in a terminal, with --accept-key and the public key",
            "data-copy=\"packcast assign foreign@2 --group lab --accept-key PUBLIC_KEY\"",
        ],
    );
}
