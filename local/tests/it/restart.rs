//! State that a restart keeps, and state that it does not.

use std::fs;

use packcast_local::{LoadError, Local, LocalError, LocalOptions, LocalState};
use reqwest::StatusCode;

use crate::system::{RunningSystem, client, options, url};

#[tokio::test]
async fn a_directory_has_one_system_at_a_time() {
    let system = RunningSystem::start().await;
    let options = options(&system.directory().join("state"));
    let error = Local::start(options.clone()).await.unwrap_err();
    assert!(matches!(error, LocalError::Lock(_)), "{error}");
    assert!(error.to_string().contains("already runs"), "{error}");
    assert_eq!(
        LocalState::load(&options.state_dir).unwrap().edge,
        system.local.state().edge
    );
    system.local.stop().await.unwrap();
    Local::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_address_authority_tokens_records_and_objects() {
    let system = RunningSystem::start().await;
    system.object("s/a", b"kept");
    let before = system.local.state().clone();
    let name = "mirror".parse().unwrap();
    let mirror = packcast_rollout::LocationRecord {
        name,
        location: "cdn.example.net/p".parse().unwrap(),
    };
    system.local.records().add_location(&mirror).await.unwrap();
    let state_dir = system.directory().join("state");
    let old_client = client(&before.ca_file);
    let directory = stop(system).await;

    let local = Local::start(options(&state_dir)).await.unwrap();
    let after = local.state();
    assert_eq!(after.edge, before.edge);
    assert_eq!(after.enrolment_token, before.enrolment_token);
    assert_eq!(after.ocs_path_token, before.ocs_path_token);
    let response = old_client.get(url(after, "/d/s/a")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "kept");
    let locations = local.records().locations().await.unwrap();
    let shown: Vec<_> = locations
        .iter()
        .map(|location| location.location.to_string())
        .collect();
    assert_eq!(
        shown,
        [before.edge.to_string(), "cdn.example.net/p".to_owned()]
    );
    local.stop().await.unwrap();
    drop(directory);
}

#[tokio::test]
async fn an_error_names_a_port_in_use_and_another_can_be_chosen() {
    let system = RunningSystem::start().await;
    let before = system.local.state().edge;
    let state_dir = system.directory().join("state");
    let _directory = stop(system).await;
    let _squatter = std::net::TcpListener::bind(before).unwrap();
    let error = Local::start(options(&state_dir)).await.unwrap_err();
    assert!(
        error.to_string().contains(&before.port().to_string()),
        "{error}"
    );
    let asked = LocalOptions {
        edge_port: Some(0),
        ..options(&state_dir)
    };
    let local = Local::start(asked).await.unwrap();
    let edge = local.state().edge;
    assert_ne!(edge, before);
    let locations = local.records().locations().await.unwrap();
    assert_eq!(locations.len(), 1);
    assert_eq!(locations[0].location.to_string(), edge.to_string());
    local.stop().await.unwrap();
}

#[tokio::test]
async fn the_state_of_a_dead_process_is_not_a_running_system() {
    let system = RunningSystem::start().await;
    let state_dir = system.directory().join("state");
    let left = fs::read(state_dir.join("local.json")).unwrap();
    let _directory = stop(system).await;
    assert!(!state_dir.join("local.json").exists());
    assert!(matches!(
        LocalState::load(&state_dir),
        Err(LoadError::NotRunning { .. })
    ));
    fs::write(state_dir.join("local.json"), left).unwrap();
    let error = LocalState::load(&state_dir).unwrap_err();
    assert!(matches!(error, LoadError::NotRunning { .. }), "{error}");
    assert!(error.to_string().contains("is not running"), "{error}");
}

#[tokio::test]
async fn the_state_contains_the_settings_of_agents_and_debug_hides_them() {
    let system = RunningSystem::start().await;
    let state = LocalState::load(&system.directory().join("state")).unwrap();
    let token = state.enrolment_token.reveal();
    assert_eq!(
        fs::read_to_string(&state.enrolment_token_file)
            .unwrap()
            .trim(),
        token
    );
    assert!(!format!("{state:?} {:?}", system.local).contains(token));
    let path = format!("/ocsinventory/{}", state.ocs_path_token.reveal());
    let post = system
        .client
        .post(system.url(&path))
        .body("not OCS")
        .send()
        .await
        .unwrap();
    assert_ne!(post.status(), StatusCode::NOT_FOUND);
    let guess = system
        .client
        .post(system.url("/ocsinventory/aaaaaaaaaaaaaaaa"));
    assert_eq!(
        guess.body("not OCS").send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_state_and_secrets() {
    use std::os::unix::fs::PermissionsExt as _;
    let system = RunningSystem::start().await;
    let state_dir = system.directory().join("state");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    for entry in fs::read_dir(&state_dir).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

/// Stops a system and returns its directory.
async fn stop(system: RunningSystem) -> tempfile::TempDir {
    let (local, directory) = system.into_parts();
    local.stop().await.unwrap();
    directory
}
