//! The signing key of a session: locked, unlocked by its passphrase, and locked again.

use std::sync::atomic::Ordering;

use packcast_protocol::PackageRef;
use packcast_publisher::package;
use packcast_rollout::state::StateChange;
use packcast_testing::table::device;

use crate::browser::Answer;
use crate::system::System;

const PASSPHRASE: &str = "correct horse battery";
const FIELDS: &str = "package=tool%401.0&to=all&force=on";

#[tokio::test]
async fn a_locked_key_needs_its_passphrase_once_in_ten_minutes_of_use() {
    let system = System::with_passphrase(961, PASSPHRASE).await;
    let create = StateChange::CreateGroup {
        group: System::group("lab"),
    };
    system.change(&[create]).await;
    system.publish("tool", "1.0").await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let mut answers: Vec<Answer> = Vec::new();

    let effect = browser.plan("assign", FIELDS).await;
    assert!(asks(&effect), "{}", effect.body);
    // Without the passphrase nothing is changed.
    let without = browser.confirm("assign", FIELDS, &effect).await;
    assert_eq!(without.status, 403, "{without:?}");
    assert!(without.body.contains("The signing key is locked"));
    let wrong = format!("{FIELDS}&passphrase=incorrect+horse");
    let refused = browser.confirm("assign", &wrong, &without).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    for text in [
        "the passphrase is wrong",
        "name=\"force\"",
        "value=\"tool@1.0\"",
    ] {
        assert!(refused.body.contains(text), "{text}: {}", refused.body);
    }
    assert!(asks(&refused) && !refused.body.contains("incorrect"));
    assert_eq!(system.commits().await, 1);
    let right = format!("{FIELDS}&passphrase={}", PASSPHRASE.replace(' ', "+"));
    let made = browser.confirm("assign", &right, &refused).await;
    assert_eq!(made.status, 303, "{made:?}");
    let result = browser.result(made.header("location").unwrap()).await;
    assert!(
        result.body.contains("The change is made"),
        "{}",
        result.body
    );
    assert_eq!(system.commits().await, 2);
    answers.extend([effect, without, refused, made, result]);

    // The next changes need no passphrase, as long as the key is used.
    served.ahead.store(9 * 60, Ordering::SeqCst);
    let effect = browser.plan("assign", FIELDS).await;
    assert!(!asks(&effect), "{}", effect.body);
    answers.push(browser.get("/changes").await);
    assert!(answers[5].body.contains("The signing key is unlocked"));
    served.ahead.store(18 * 60, Ordering::SeqCst);
    let made = browser.confirm("assign", FIELDS, &effect).await;
    assert_eq!(made.status, 303, "{made:?}");
    answers.extend([effect, made]);
    served.ahead.store(29 * 60, Ordering::SeqCst);
    let effect = browser.plan("assign", FIELDS).await;
    assert!(asks(&effect), "{}", effect.body);
    answers.push(effect);
    answers.push(browser.get("/changes").await);
    answers.push(browser.get("/history").await);
    for answer in answers {
        for part in ["horse", "battery"] {
            assert!(!format!("{answer:?}").contains(part), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_passphrase_does_not_hide_that_the_effect_has_changed() {
    let system = System::with_passphrase(968, PASSPHRASE).await;
    let group = System::group("lab");
    let create = StateChange::CreateGroup {
        group: group.clone(),
    };
    system.change(&[create]).await;
    system.publish("tool", "1.0").await;
    let served = system.signed_in().await;
    let fields = "package=tool%401.0&to=groups&group=lab";
    let effect = served.browser.plan("assign", fields).await;
    for number in 0..3 {
        system.table.device(number).await;
    }
    let devices = (0..3).map(|number| device(number).device).collect();
    system.change(&[StateChange::Join { group, devices }]).await;
    for passphrase in ["wrong", &PASSPHRASE.replace(' ', "+")] {
        let form = format!("{fields}&passphrase={passphrase}");
        let answer = served.browser.confirm("assign", &form, &effect).await;
        assert_eq!(answer.status, 409, "{answer:?}");
        for text in ["has changed since it was shown", "3 devices"] {
            assert!(answer.body.contains(text), "{text}: {}", answer.body);
        }
        // The passphrase has not unlocked the key for a change that nobody has seen.
        assert!(asks(&answer), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_person_locks_the_key() {
    let system = System::with_passphrase(962, PASSPHRASE).await;
    system.publish("tool", "1.0").await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    // A change that nobody signs needs no key.
    let (effect, _) = browser.make("deactivate", "package=tool%401.0").await;
    assert!(!asks(&effect), "{}", effect.body);
    let reference: PackageRef = "tool@1.0".parse().unwrap();
    let package = package::find(&system.target, &reference).await.unwrap();
    assert!(!package.active);
    let effect = browser.plan("assign", FIELDS).await;
    let right = format!("{FIELDS}&passphrase={}", PASSPHRASE.replace(' ', "+"));
    let made = browser.confirm("assign", &right, &effect).await;
    assert_eq!(made.status, 303, "{made:?}");
    assert!(!asks(&browser.plan("assign", FIELDS).await));
    let form = format!("form={}", effect.form_token());
    assert_eq!(browser.post("/key/lock", &form).await.status, 303);
    assert!(asks(&browser.plan("assign", FIELDS).await));
}

/// Returns true if a page asks for the passphrase.
fn asks(page: &Answer) -> bool {
    page.body.contains("name=\"passphrase\"")
}
