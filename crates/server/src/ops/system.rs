//! What the server asks of the system at start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the process needs beside its connections.
const OWN: u64 = 64;

/// Raises the number of descriptors to what the system allows, and says where that is too few for the
/// connections that are allowed (a transfer has a socket and a file).
pub fn raise_descriptors(connections: u32) {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of descriptors cannot be raised");
    }
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = u64::from(connections) * 2 + OWN;
    if have < wanted {
        tracing::warn!(
            have,
            wanted,
            "limits.connections needs more descriptors than there are: raise LimitNOFILE or lower the limit"
        );
    }
}

/// Whether this process may write what belongs to `uid`: itself, or root.
#[must_use]
pub fn may_speak(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}
