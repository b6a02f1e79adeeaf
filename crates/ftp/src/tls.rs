//! How a data connection is bound to its control connection: it resumes that very TLS session.
//!
//! Each control connection has a map of sessions of its own. The control connection fills it; data
//! connections only look into it, through a view of their own. rustls's storage will not do: it removes a
//! TLS 1.3 session at its first use, which is the first transfer.
//!
//! Invariants: nothing but the control connection's handshake makes a session that can be resumed; what
//! can be resumed ends with the [`Binding`]; a data connection is never sent a TLS 1.3 ticket (a client
//! that closes without reading would have its upload cut by the RST that unread bytes cause); 0-RTT is
//! off, which makes looking up without removing safe (RFC 8446, section 8).

mod sessions;
#[cfg(test)]
mod tests;
mod views;

#[cfg(test)]
pub(crate) use tests::rig;

use std::sync::Arc;

use rustls::ServerConfig;

use self::{
    sessions::Sessions,
    views::{ControlView, DataView, Never},
};
use crate::SessionReuse;

/// What clients may say on data connections where the listener speaks ALPN at all, beside what they may
/// say on control connections.
const DATA_ALPN: [&[u8]; 2] = [b"ftp-data", b"x-filezilla-ftp"];

/// What binds data connections to one control connection. Dropped with it, and then nothing is resumed.
pub(crate) struct Binding {
    sessions: Arc<Sessions>,
    base: Arc<ServerConfig>,
    control: Arc<ServerConfig>,
    reuse: SessionReuse,
}

impl Binding {
    /// For one control connection of the listener whose configuration is `base`.
    pub(crate) fn new(base: &Arc<ServerConfig>, reuse: SessionReuse) -> Self {
        let sessions = Arc::new(Sessions::default());
        let mut control = ServerConfig::clone(base);
        control.max_early_data_size = 0;
        if reuse == SessionReuse::Off {
            never_resumed(&mut control);
        } else {
            let view = Arc::new(ControlView::new(&sessions));
            control.session_storage = Arc::<ControlView>::clone(&view);
            control.ticketer = view;
        }
        Self {
            sessions,
            base: Arc::clone(base),
            control: Arc::new(control),
            reuse,
        }
    }

    /// For the handshake of the control connection.
    pub(crate) fn control(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.control)
    }

    /// For the handshake of one data connection: to be asked for anew each time.
    pub(crate) fn data(&self) -> Arc<ServerConfig> {
        let mut data = ServerConfig::clone(&self.base);
        never_resumed(&mut data);
        if !data.alpn_protocols.is_empty() {
            data.alpn_protocols.extend(DATA_ALPN.map(<[u8]>::to_vec));
        }
        if self.reuse != SessionReuse::Off {
            let view = Arc::new(DataView::new(&self.sessions));
            data.session_storage = Arc::<DataView>::clone(&view);
            data.ticketer = view;
        }
        Arc::new(data)
    }
}

/// Neither tickets nor sessions, and no early data.
fn never_resumed(config: &mut ServerConfig) {
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.session_storage = Arc::new(Never);
    config.ticketer = Arc::new(Never);
}
