//! What stays and what does not, from one start to the next.

use std::fs;

use packcast_local::{LoadError, Local, LocalError, LocalOptions, LocalState};
use reqwest::StatusCode;

use crate::system::{RunningSystem, client, url};

#[tokio::test]
async fn a_directory_has_one_system_at_a_time() {
    let world = RunningSystem::start().await;
    let options = LocalOptions::new(&world.place().join("state"));
    let error = Local::start(options.clone()).await.unwrap_err();
    assert!(matches!(error, LocalError::Lock(_)), "{error}");
    assert!(error.to_string().contains("already runs"), "{error}");
    assert_eq!(
        LocalState::load(&options.state_dir).unwrap().edge,
        world.local.state().edge
    );
    world.local.stop().await.unwrap();
    Local::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_address_authority_tokens_records_and_objects() {
    let world = RunningSystem::start().await;
    world.object("s/a", b"kept");
    let before = world.local.state().clone();
    let name = "mirror".parse().unwrap();
    let mirror = packcast_rollout::LocationRecord {
        name,
        location: "cdn.example.net/p".parse().unwrap(),
    };
    world.local.records().add_location(&mirror).await.unwrap();
    let state_dir = world.place().join("state");
    let old_client = client(&before.ca_file);
    let place = stop(world).await;

    let local = Local::start(LocalOptions::new(&state_dir)).await.unwrap();
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
    drop(place);
}

#[tokio::test]
async fn a_taken_port_is_named_and_another_can_be_asked_for() {
    let world = RunningSystem::start().await;
    let before = world.local.state().edge;
    let state_dir = world.place().join("state");
    let _place = stop(world).await;
    let _squatter = std::net::TcpListener::bind(before).unwrap();
    let error = Local::start(LocalOptions::new(&state_dir))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&before.port().to_string()),
        "{error}"
    );
    let asked = LocalOptions {
        edge_port: Some(0),
        ..LocalOptions::new(&state_dir)
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
async fn what_a_dead_process_left_is_not_a_running_system() {
    let world = RunningSystem::start().await;
    let state_dir = world.place().join("state");
    let left = fs::read(state_dir.join("local.json")).unwrap();
    let _place = stop(world).await;
    assert!(!state_dir.join("local.json").exists());
    assert!(matches!(
        LocalState::load(&state_dir),
        Err(LoadError::NotRunning { .. })
    ));
    fs::write(state_dir.join("local.json"), left).unwrap();
    let error = LocalState::load(&state_dir).unwrap_err();
    assert!(matches!(error, LoadError::NotRunning { .. }), "{error}");
    assert!(error.to_string().contains("start it"), "{error}");
}

#[tokio::test]
async fn the_state_names_what_agents_need_and_debug_hides_it() {
    let world = RunningSystem::start().await;
    let state = LocalState::load(&world.place().join("state")).unwrap();
    let token = state.enrolment_token.reveal();
    assert_eq!(
        fs::read_to_string(&state.enrolment_token_file)
            .unwrap()
            .trim(),
        token
    );
    assert!(!format!("{state:?} {:?}", world.local).contains(token));
    let path = format!("/ocsinventory/{}", state.ocs_path_token.reveal());
    let post = world
        .client
        .post(world.url(&path))
        .body("not OCS")
        .send()
        .await
        .unwrap();
    assert_ne!(post.status(), StatusCode::NOT_FOUND);
    let guess = world
        .client
        .post(world.url("/ocsinventory/aaaaaaaaaaaaaaaa"));
    assert_eq!(
        guess.body("not OCS").send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_their_owner_can_read_state_and_secrets() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = RunningSystem::start().await;
    let state_dir = world.place().join("state");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    for entry in fs::read_dir(&state_dir).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

/// Stops a system and keeps its place.
async fn stop(world: RunningSystem) -> tempfile::TempDir {
    let (local, place) = world.into_parts();
    local.stop().await.unwrap();
    place
}
