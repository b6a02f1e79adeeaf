//! libunftp with its own file backend, as its manual builds it: the peer of the bench that is a library.
//!
//! Arguments: address, passive ports (first-last), root, certificate, key, user, password hash (SHA-512 crypt).
use std::{error::Error, net::SocketAddr, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use libunftp::{
    ServerBuilder,
    options::{FtpsRequired, TlsFlags},
};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use unftp_core::auth::{AuthenticationError, Authenticator, Credentials, Principal};
use unftp_sbe_fs::Filesystem;

#[derive(Debug)]
struct OneUser {
    name: String,
    hash: Arc<str>,
}

#[async_trait]
impl Authenticator for OneUser {
    async fn authenticate(&self, name: &str, with: &Credentials) -> Result<Principal, AuthenticationError> {
        if name != self.name {
            return Err(AuthenticationError::BadUser);
        }
        let (password, hash) = (with.password.clone().unwrap_or_default(), self.hash.clone());
        let good = tokio::task::spawn_blocking(move || {
            ShaCrypt::default()
                .verify_password(password.as_bytes(), &*hash)
                .is_ok()
        });
        match good.await {
            Ok(true) => Ok(Principal {
                username: name.to_owned(),
            }),
            _ => Err(AuthenticationError::BadPassword),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ports, root, certificate, key, name, hash] = arguments.as_slice() else {
        return Err("wants: address first-last root certificate key user hash".into());
    };
    let address: SocketAddr = address.parse()?;
    let (first, last) = ports.split_once('-').ok_or("ports: first-last")?;
    let (first, last): (u16, u16) = (first.parse()?, last.parse()?);
    let root = PathBuf::from(root);
    Filesystem::new(&root)?;
    let user = OneUser {
        name: name.clone(),
        hash: hash.as_str().into(),
    };
    ServerBuilder::with_authenticator(
        Box::new(move || Filesystem::new(&root).expect("the root was there a moment ago")),
        Arc::new(user),
    )
    .ftps(certificate, key)
    .ftps_required(FtpsRequired::All, FtpsRequired::All)
    .ftps_tls_flags(TlsFlags::V1_2 | TlsFlags::V1_3 | TlsFlags::RESUMPTION_TICKETS)
    .passive_ports(first..=last)
    .build()?
    .listen(address.to_string())
    .await?;
    Ok(())
}
