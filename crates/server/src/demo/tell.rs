//! What the demo tells when it is ready.

use std::path::Path;

use portreeve_model::Door;
use serde::Serialize;

use super::people::People;
use crate::{service::Service, supervisor::State};

/// What is told: every door, `null` where it does not exist. The order is part of the interface.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    sftp: Option<String>,
    ftps: Option<String>,
    https: Option<String>,
    console: Option<String>,
    user: &'a str,
    password: &'a str,
    admin: &'a str,
    admin_password: &'a str,
    config: &'a Path,
}

/// Collects it.
pub(super) fn told<'a>(service: &Service, people: &'a People, config: &'a Path) -> Told<'a> {
    let status = service.supervisor().status();
    let address = |door: Door| {
        let found = status.iter().find(|status| status.door == door)?;
        match found.state {
            State::Up(address) => Some(address.to_string()),
            State::Starting | State::Down(_) => None,
        }
    };
    Told {
        sftp: address(Door::Sftp),
        ftps: address(Door::Ftps),
        https: address(Door::Https),
        console: address(Door::Console),
        user: people.user,
        password: people.password.expose(),
        admin: people.admin,
        admin_password: people.admin_password.expose(),
        config,
    }
}

/// For people.
pub(super) fn text(told: &Told<'_>, dir: &Path) -> String {
    let Told { user, password, .. } = told;
    let mut out = format!(
        "Portreeve serves {}\n\n  user      {user}\n  password  {password}\n",
        dir.display()
    );
    if let Some((host, port)) = told.sftp.as_deref().and_then(|address| address.rsplit_once(':')) {
        out.push_str(&format!(
            "\nSFTP: enter the password when asked, then try 'ls', 'ls mail/Inbox', 'get README.txt'\n\n  \
             sftp -P {port} -o StrictHostKeyChecking=accept-new {user}@{host}\n"
        ));
    }
    if let Some(ftps) = &told.ftps {
        out.push_str(&format!(
            "\nFTPS: the certificate is self-signed, so clients are told not to mind\n\n  \
             curl -k --ssl-reqd -u {user}:{password} ftp://{ftps}/\n  \
             lftp -u {user},{password} -e 'set ftp:ssl-force yes; set ssl:verify-certificate no' {ftps}\n"
        ));
    }
    if let Some(https) = &told.https {
        out.push_str(&format!(
            "\nHTTPS: the certificate is self-signed, so the browser warns\n\n  https://{https}/\n  \
             curl -k -u {user}:{password} 'https://{https}/api/v1/files?path=/'\n  \
             curl -k -u {user}:{password} 'https://{https}/api/v1/files/content?path=/README.txt'\n"
        ));
    }
    out.push_str(&format!(
        "\nThe configuration is {}\nThe administrator is {} with the password {}\nCtrl-C ends it.\n",
        told.config.display(),
        told.admin,
        told.admin_password,
    ));
    out
}
