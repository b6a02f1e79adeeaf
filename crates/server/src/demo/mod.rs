//! `portreeve demo`: a real configuration, sample files and a sample mailbox, served on loopback.
//!
//! Invariants: what lies in the directory is kept over runs, a configuration that somebody edited
//! included; passwords are made anew at each start and exist as hashes only.

mod people;
mod tell;
mod template;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use crate::{
    check,
    cli::{Failure, Out, Signals, runtime, start},
    ops,
    supervisor::State,
};

/// The ports of a demo that stays.
const PORTS: [u16; 3] = [2222, 2121, 8443];

/// Runs until it is told to stop.
pub(crate) fn run(dir: &Path, ephemeral: bool, out: &mut Out) -> Result<(), Failure> {
    let dir = std::path::absolute(dir)?;
    prepare(&dir)?;
    let ports = if ephemeral { [0; 3] } else { free_ports(out) };
    let config_file = dir.join("portreeve.toml");
    if place(&config_file, &template::config(ports))? == Placed::Edited {
        out.note(&format!(
            "{} was edited: it is used as it is",
            config_file.display()
        ));
    }
    let config = check::check_file(&config_file)?;
    ops::logs::set(&config.log);
    ops::panics::watch();
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let service = start(config).await?;
        let people = people::settle(service.store()).await.map_err(Failure::Failed)?;
        let told = tell::told(&service, &people, &config_file);
        let text = tell::text(&told, &dir);
        out.answer(&told, |_| text)?;
        for status in service.supervisor().status() {
            if let State::Down(why) = status.state {
                out.note(&format!("{} at {}: {why}", status.name, status.address));
            }
        }
        signals.obey(&service).await
    })
}

/// The sample files and the sample mailbox; what is there already stays.
fn prepare(dir: &Path) -> io::Result<()> {
    for (name, content) in template::FILES {
        let path = dir.join("files").join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => io::Write::write_all(&mut file, content.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    portreeve_mailbox::sample::write(&dir.join("mail"))
}

#[derive(Debug, PartialEq, Eq)]
enum Placed {
    Written,
    Edited,
}

/// Writes the configuration, unless somebody made it theirs.
fn place(path: &Path, text: &str) -> io::Result<Placed> {
    if let Ok(there) = fs::read_to_string(path)
        && template::without_ports(&there) != template::without_ports(text)
    {
        return Ok(Placed::Edited);
    }
    let temporary: PathBuf = path.with_extension("new");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)?;
    Ok(Placed::Written)
}

/// The usual ports; for one that is taken, any.
fn free_ports(out: &mut Out) -> [u16; 3] {
    PORTS.map(|port| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match TcpListener::bind(address) {
            Ok(_) => port,
            Err(error) => {
                out.note(&format!(
                    "port {port} cannot be had ({error}): another one is taken"
                ));
                0
            }
        }
    })
}

#[cfg(test)]
mod tests;
