//! Values that publisher, check-in function and agent share, and their wire forms.
//!
//! The crate does no I/O and reads neither clock nor environment: it turns bytes into values,
//! and values into bytes. Every value is parsed once; a value that exists is valid.

pub mod action;
pub mod agent_build;
pub mod api;
pub mod archive;
mod assignee;
pub mod causes;
pub mod device;
pub mod digest;
pub mod enrolment;
pub mod excerpt;
pub mod fragment;
pub mod group;
pub mod http_signature;
pub mod info;
pub mod location;
pub mod manifest;
pub mod ocs;
pub mod pacing;
pub mod package;
pub mod priority;
pub mod result;
pub mod schema;
pub mod signature;
pub mod state;
pub mod terminal;
mod text_form;
pub mod text_input;
pub mod time;
pub mod windows;

pub use action::{Action, CommandLine, Folder, LaunchCommand, ProgramName};
pub use archive::{Archive, ArchiveFormat};
pub use assignee::Assignee;
pub use causes::with_causes;
pub use device::{AgentId, DeviceId, OcsDeviceId};
pub use digest::{Md5Digest, Sha256Digest};
pub use excerpt::Excerpt;
pub use fragment::{FragmentNumber, FragmentSize};
pub use group::GroupName;
pub use location::{Location, LocationName, ObjectPath};
pub use manifest::{Manifest, VerifiedManifest};
pub use package::{PackageId, PackageName, PackageRef, PackageVersion};
pub use priority::Priority;
pub use result::{Outcome, ResultCode};
pub use time::UnixTime;
pub use windows::WindowsTerms;
