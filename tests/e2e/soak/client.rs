//! A client that costs little: one task and one channel a session, SFTP version 3 written by hand
//! (draft-ietf-secsh-filexfer-02), one request at a time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use russh::{
    ChannelStream,
    client::{self, Handle, Msg},
    keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::timeout,
};

/// How long one answer may take before it counts as an error.
const PATIENCE: Duration = Duration::from_secs(60);

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const OPEN_DIR: u8 = 11;
const READ_DIR: u8 = 12;
const REAL_PATH: u8 = 16;

const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;

const OK: u32 = 0;
const EOF: u32 = 1;

const FOR_READING: u32 = 1;
const FOR_WRITING_ANEW: u32 = 2 | 8 | 16;

/// Where the door is, and with which key everybody signs in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) at: SocketAddr,
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) config: Arc<client::Config>,
}

/// One SFTP session.
pub(crate) struct Client {
    stream: ChannelStream<Msg>,
    id: u32,
    /// Keeps the connection.
    _handle: Handle<Trusting>,
}

/// Any host key will do: the server was started by this test.
pub(crate) struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// An answer: its type, and what follows the id.
struct Answer {
    kind: u8,
    body: Vec<u8>,
}

impl Client {
    /// Signs in from a loopback address of its own, so that limits by address count as they do in earnest.
    pub(crate) async fn open(door: &Door, from: IpAddr, user: &str) -> Result<Self, String> {
        let opening = Box::pin(Self::opening(door, from, user));
        let opened = timeout(PATIENCE, opening)
            .await
            .map_err(|_| "no sign-in in time")?;
        opened.map_err(|error| format!("{user} from {from}: {error}"))
    }

    async fn opening(door: &Door, from: IpAddr, user: &str) -> Result<Self, String> {
        let socket = TcpSocket::new_v4().map_err(said)?;
        socket.bind(SocketAddr::new(from, 0)).map_err(said)?;
        let socket = socket.connect(door.at).await.map_err(said)?;
        socket.set_nodelay(true).map_err(said)?;
        let mut handle = client::connect_stream(Arc::clone(&door.config), socket, Trusting)
            .await
            .map_err(said)?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&door.key), None);
        let signed_in = handle.authenticate_publickey(user, key).await.map_err(said)?;
        if !signed_in.success() {
            return Err("was refused".to_owned());
        }
        let channel = handle.channel_open_session().await.map_err(said)?;
        channel.request_subsystem(false, "sftp").await.map_err(said)?;
        let mut client = Self {
            stream: channel.into_stream(),
            id: 0,
            _handle: handle,
        };
        // INIT has no id: the version stands in its place.
        client.send(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await?;
        let answer = client.receive().await?;
        if answer.kind != 2 {
            return Err(format!("INIT was answered by {}", answer.kind));
        }
        Ok(client)
    }

    /// REALPATH of `.`: whether the session is still there.
    pub(crate) async fn greet(&mut self) -> Result<(), String> {
        self.ask("realpath", REAL_PATH, &string(b"."), NAME)
            .await
            .map(drop)
    }

    /// Lists a directory to its end; answers how many entries it has.
    pub(crate) async fn list(&mut self, dir: &str) -> Result<u32, String> {
        let handle = self.handle("opendir", OPEN_DIR, &string(dir.as_bytes())).await?;
        let mut entries = 0;
        loop {
            let answer = self.answer(READ_DIR, &handle).await?;
            if answer.kind == NAME {
                entries += number(&answer.body, 0)?;
            } else if answer.status() == Some(EOF) {
                break;
            } else {
                return Err(answer.unexpected("readdir"));
            }
        }
        self.close(&handle).await?;
        Ok(entries)
    }

    /// Uploads a small file in one piece.
    pub(crate) async fn put(&mut self, path: &str, content: &[u8]) -> Result<(), String> {
        let handle = self.open_file(path, FOR_WRITING_ANEW).await?;
        let request = [&handle[..], &0u64.to_be_bytes(), &string(content)].concat();
        let answer = self.answer(WRITE, &request).await?;
        if answer.status() != Some(OK) {
            return Err(answer.unexpected("write"));
        }
        self.close(&handle).await
    }

    /// Downloads a small file in one piece.
    pub(crate) async fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let handle = self.open_file(path, FOR_READING).await?;
        let request = [&handle[..], &0u64.to_be_bytes(), &(128u32 << 10).to_be_bytes()].concat();
        let mut answer = self.ask("read", READ, &request, DATA).await?;
        let content = answer.body.split_off(4);
        self.close(&handle).await?;
        Ok(content)
    }

    async fn open_file(&mut self, path: &str, flags: u32) -> Result<Vec<u8>, String> {
        let no_attributes = 0u32;
        let name = string(path.as_bytes());
        let request = [&name[..], &flags.to_be_bytes(), &no_attributes.to_be_bytes()].concat();
        self.handle("open", OPEN, &request).await
    }

    async fn close(&mut self, handle: &[u8]) -> Result<(), String> {
        let answer = self.answer(CLOSE, handle).await?;
        match answer.status() {
            Some(OK) => Ok(()),
            _ => Err(answer.unexpected("close")),
        }
    }

    /// A handle, with its length in front, as requests want it.
    async fn handle(&mut self, what: &str, kind: u8, request: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.ask(what, kind, request, HANDLE).await?.body)
    }

    async fn ask(&mut self, what: &str, kind: u8, request: &[u8], expected: u8) -> Result<Answer, String> {
        let answer = self.answer(kind, request).await?;
        if answer.kind == expected {
            Ok(answer)
        } else {
            Err(answer.unexpected(what))
        }
    }

    async fn answer(&mut self, kind: u8, request: &[u8]) -> Result<Answer, String> {
        self.id = self.id.wrapping_add(1);
        let length = u32::try_from(request.len() + 5).map_err(said)?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(kind);
        packet.extend(self.id.to_be_bytes());
        packet.extend(request);
        self.send(&packet).await?;
        let mut answer = self.receive().await?;
        let id = number(&answer.body, 0)?;
        if id != self.id {
            return Err(format!("request {} was answered as {id}", self.id));
        }
        answer.body.drain(..4);
        Ok(answer)
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), String> {
        self.stream.write_all(packet).await.map_err(said)
    }

    async fn receive(&mut self) -> Result<Answer, String> {
        let reading = async {
            let length = self.stream.read_u32().await.map_err(said)?;
            let kind = self.stream.read_u8().await.map_err(said)?;
            if !(5..=512 << 10).contains(&length) {
                return Err(format!("a packet of {length} bytes"));
            }
            let mut body = vec![0; length as usize - 1];
            self.stream.read_exact(&mut body).await.map_err(said)?;
            Ok(Answer { kind, body })
        };
        timeout(PATIENCE, reading)
            .await
            .map_err(|_| "no answer in time")?
    }
}

impl Answer {
    fn status(&self) -> Option<u32> {
        (self.kind == STATUS).then(|| number(&self.body, 0).ok())?
    }

    fn unexpected(&self, what: &str) -> String {
        let said = String::from_utf8_lossy(&self.body);
        format!(
            "{what} was answered by {} {:?} {said:?}",
            self.kind,
            self.status()
        )
    }
}

fn number(body: &[u8], at: usize) -> Result<u32, String> {
    let field = body.get(at..at + 4).ok_or("a short packet")?;
    Ok(u32::from_be_bytes(field.try_into().map_err(said)?))
}

fn string(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("small");
    [&length.to_be_bytes(), text].concat()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
