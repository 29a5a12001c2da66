//! Signatures of the tests.

use std::process::Command;
use std::sync::Arc;

use minisign::KeyPair;
use packcast_protocol::signature::PublicKey;

/// A key, which several publishers may share.
#[derive(Clone)]
pub(crate) struct Signer {
    key: Arc<KeyPair>,
    /// The options of the standard tool, if it signs instead of the library.
    tool: Option<&'static [&'static str]>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self {
            key: Arc::new(KeyPair::generate_unencrypted_keypair().unwrap()),
            tool: None,
        }
    }

    /// Returns a signer with the same key, for which `minisign` signs with these options.
    pub(crate) fn with_tool(&self, options: &'static [&'static str]) -> Self {
        Self {
            key: Arc::clone(&self.key),
            tool: Some(options),
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.pk.to_base64().parse().unwrap()
    }

    pub(crate) fn signature(&self, document: &[u8]) -> String {
        if let Some(options) = self.tool {
            return self.signature_of_tool(document, options);
        }
        let signature = minisign::sign(None, &self.key.sk, document, None, None);
        signature.unwrap().into_string()
    }

    fn signature_of_tool(&self, document: &[u8], options: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("document"), document).unwrap();
        // The format of the tool, without a passphrase.
        let secret = self.key.sk.to_box(None).unwrap().to_string();
        std::fs::write(path("secret"), secret).unwrap();
        let mut command = Command::new("minisign");
        command.args(["-S", "-s", "secret", "-m", "document"]);
        let output = command.args(options).current_dir(folder.path()).output();
        assert!(output.unwrap().status.success(), "minisign cannot sign");
        std::fs::read_to_string(path("document.minisig")).unwrap()
    }
}
