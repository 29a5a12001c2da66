//! Packages that cannot be deployed any more, or not by every device.

use super::*;
use crate::activate;
use crate::package::state;
use crate::rendered::failures;
use crate::signing::rotate::rotate;
use crate::verify::{Through, verify};
use crate::{explain, package, status};

/// The packages of these tests were published this long ago, in seconds.
const AGO_S: u64 = 2 * 3600;

impl Fixture {
    /// Publishes a package that has expired an hour ago.
    async fn expired(&self, name: &str) -> PackageRecord {
        let mut request = Self::request(name);
        request.terms.validity_s = Some(3600);
        let at = UnixTime(now().0 - AGO_S);
        self.published(request, at).await
    }
}

#[tokio::test]
async fn an_expired_package_is_refused_and_shown_as_expired() {
    let fixture = Fixture::start(420).await;
    let target = &fixture.target;
    let devices = fixture.devices(1).await;
    let forever = fixture
        .published(Fixture::request("forever"), UnixTime(1_790_000_000))
        .await;
    assert_eq!(forever.published().unwrap().expires, None);
    assert_eq!(state(&forever, UnixTime(u64::MAX)), "published");
    assert_eq!(fixture.assign_devices(&forever, &devices).await[0].0, NEW);

    let expired = fixture.expired("brief").await;
    let reference = PackageRef::Id(expired.id);
    let refused = [
        fixture
            .assign(&expired, of_devices(&devices))
            .await
            .unwrap_err(),
        activate::plan(target, &reference, &[]).await.unwrap_err(),
    ];
    let shown = failures(refused);
    let (id, at) = (expired.id.to_string(), expired.published().unwrap().expires);
    let shown = shown
        .replace(&id, "ID")
        .replace(&crate::text::time(at.unwrap()), "TIME");
    insta::assert_snapshot!(shown, @"
    Conflict: package ID brief@1 expired TIME
    hint: publish its content under another version, and assign that version: devices deploy it as a new package
    Conflict: package ID brief@1 expired TIME
    hint: publish its content under another version, and assign that version: devices deploy it as a new package
    ");
    let progress = status::of_package(target, &reference).await.unwrap();
    assert_eq!(progress.state, "expired");
    let explained = explain::explain(target, &names(&devices)[0], &reference).await;
    assert_eq!(explained.unwrap().state, "expired");
}

#[tokio::test]
async fn a_version_published_after_one_by_a_fast_clock_is_no_downgrade() {
    let fixture = Fixture::start(423).await;
    let at = now();
    let first = fixture
        .published(Fixture::request("tool"), at.plus(290))
        .await;
    let mut request = Fixture::request("tool");
    request.version = "2".parse().unwrap();
    let second = fixture.published(request, at).await;
    assert!(second.id > first.id);
    assert!(second.published().is_some());
}

#[tokio::test]
async fn a_package_by_a_retired_key_is_intact() {
    let fixture = Fixture::start(422).await;
    let target = &fixture.target;
    fixture.create_lab().await.unwrap();
    let package = fixture.package("tool").await;
    let reference = PackageRef::Id(package.id);
    let is_intact = async || {
        let progress = Progress::none();
        let verified = verify(target, &reference, &Through::Store, None, &progress).await;
        verified.unwrap().conclude().is_ok()
    };
    assert!(is_intact().await);
    rotate(target, None, true, None).await.unwrap();
    assert!(is_intact().await);
    package::show(target, &reference).await.unwrap();
    assert_eq!(target.warnings.take(), []);
}

#[tokio::test]
async fn commands_that_only_read_warn_of_a_package_that_expires_soon() {
    let fixture = Fixture::start(421).await;
    let target = &fixture.target;
    let devices = fixture.devices(1).await;
    let mut request = Fixture::request("brief");
    request.terms.validity_s = Some(86_400);
    let brief = fixture.published(request, now()).await;
    let reference = PackageRef::Id(brief.id);
    let warned = || {
        let warnings = target.warnings.take();
        warnings
            .iter()
            .filter(|warning| warning.text.starts_with("brief@1 expires"))
            .count()
    };
    package::newest(target, 10).await.unwrap();
    assert_eq!(warned(), 1);
    package::show(target, &reference).await.unwrap();
    assert_eq!(warned(), 1);
    status::of_package(target, &reference).await.unwrap();
    assert_eq!(warned(), 1);
    status::of_newest(target, 10).await.unwrap();
    assert_eq!(warned(), 1);
    explain::explain(target, &names(&devices)[0], &reference)
        .await
        .unwrap();
    assert_eq!(warned(), 1);
    fixture.assign_devices(&brief, &devices).await;
    assert_eq!(warned(), 1);
}
