//! Serves a console until a file disappears.
use crate::system::System;

#[tokio::test]
#[ignore = "by hand"]
async fn serve_by_hand() {
    let system = System::start(2000).await;
    system.publish("tool", "1").await;
    let served = system.serve().await;
    let link = format!("{}/sign-in#{}", served.browser.origin(), served.token);
    std::fs::write("/tmp/cw-link", link).unwrap();
    while std::path::Path::new("/tmp/cw-link").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}
