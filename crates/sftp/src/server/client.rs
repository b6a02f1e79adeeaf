//! One client as russh's callbacks show it: signing in, channels, and a refusal of everything but SFTP.
//!
//! Invariants: a channel that was not opened here calls nothing; every message that russh puts into a
//! channel's queue is taken out in the callback that follows, so that russh never waits for us.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use portreeve_session::Session as Person;
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, Pty, Sig,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey},
};
use tokio::{sync::mpsc::UnboundedSender, task::coop::unconstrained};

use super::{
    auth::{Entrance, Step},
    channel::{Outcome, SftpChannel},
    door::SftpDoor,
    engine::Env,
    flow::Traffic,
    handles::Places,
    queue::Queue,
};

/// Channels open at once.
const MAX_CHANNELS: usize = 10;

/// Channels opened in the life of a connection: russh keeps a little of each closed one.
const MAX_OPENED: usize = 1000;

const SFTP_ONLY: &str = "This server speaks SFTP only.\r\n";

/// What the connection's supervisor hears.
pub(crate) enum News {
    SignedIn(Person),
    /// Say this and close.
    Goodbye(String),
}

/// One channel.
struct Slot {
    channel: Channel<Msg>,
    sftp: Option<Arc<SftpChannel>>,
}

impl Slot {
    /// Takes what russh put into the queue; answers the data among it, uncopied.
    fn drain(&mut self) -> Option<Bytes> {
        let mut data = None;
        while let Some(Some(message)) = unconstrained(self.channel.wait()).now_or_never() {
            if let ChannelMsg::Data { data: bytes } = message {
                data = Some(bytes);
            }
        }
        data
    }
}

/// The SFTP channels of a connection, for its supervisor.
pub(crate) type Open = Arc<Mutex<Vec<std::sync::Weak<SftpChannel>>>>;

/// The state behind the callbacks.
pub(crate) struct Client {
    door: Arc<SftpDoor>,
    entrance: Entrance,
    person: Option<Person>,
    news: UnboundedSender<News>,
    traffic: Arc<Traffic>,
    slots: HashMap<ChannelId, Slot>,
    opened: usize,
    open: Open,
    /// Of the user who signed in.
    places: Option<Places>,
    queue: Arc<Queue>,
    draining: tokio_util::sync::CancellationToken,
}

impl Client {
    pub(crate) fn new(
        door: Arc<SftpDoor>,
        connection: portreeve_session::Connection,
        traffic: Arc<Traffic>,
        news: UnboundedSender<News>,
        open: Open,
    ) -> Self {
        let draining = connection.draining().clone();
        let queue = Queue::new(&door.budget);
        Self {
            entrance: Entrance::new(connection, door.options.min_rsa_bits),
            door,
            person: None,
            news,
            traffic,
            slots: HashMap::new(),
            opened: 0,
            open,
            places: None,
            queue,
            draining,
        }
    }

    fn settle(&mut self, step: Step) -> Auth {
        if let Some(text) = step.goodbye {
            self.tell(News::Goodbye(text));
        }
        if let Some(person) = step.session {
            self.person = Some(person);
        }
        step.auth
    }

    fn tell(&self, news: News) {
        // The supervisor outlives the connection; where it does not, nobody needs to know.
        let _ = self.news.send(news);
    }

    fn drain(&mut self, id: ChannelId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.drain();
        }
    }

    /// A shell, a command: told on stderr that there is none here.
    fn refuse_program(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.drain(id);
        if self.slots.get(&id).is_none_or(|slot| slot.sftp.is_some()) {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        session.extended_data(id, 1, SFTP_ONLY)?;
        session.exit_status_request(id, 1)?;
        session.eof(id)?;
        session.close(id)?;
        self.slots.remove(&id);
        Ok(())
    }

    fn refuse(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.drain(id);
        session.channel_failure(id)
    }
}

fn send(id: ChannelId, session: &mut Session, outcome: Outcome) -> Result<bool, russh::Error> {
    for bytes in outcome.sends {
        session.data(id, bytes)?;
    }
    Ok(outcome.overfull)
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        let step = self.entrance.none(user).await;
        Ok(self.settle(step))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let step = self.entrance.password(user, password).await;
        Ok(self.settle(step))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self
            .entrance
            .key_offered(user, offer.public_key, offer.algorithm)
            .await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let step = self
            .entrance
            .key_proved(user, key.public_key, key.algorithm)
            .await;
        Ok(self.settle(step))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let step = match response {
            None => self.entrance.interactive_begin(user).await,
            Some(response) => {
                let answers = response
                    .map(|answer| String::from_utf8(answer.to_vec()).ok())
                    .collect();
                self.entrance.interactive_answer(user, answers).await
            }
        };
        Ok(self.settle(step))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        let Some(person) = &self.person else {
            return Err(russh::Error::NotAuthenticated);
        };
        self.tell(News::SignedIn(person.clone()));
        Ok(())
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.door.options.banner.clone())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.slots
            .retain(|_, slot| slot.sftp.as_ref().is_none_or(|sftp| !sftp.is_over()));
        if self.person.is_none() || self.draining.is_cancelled() {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        if self.slots.len() >= MAX_CHANNELS || self.opened >= MAX_OPENED {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.opened += 1;
        self.slots.insert(channel.id(), Slot { channel, sftp: None });
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.drain(id);
        let (Some(person), Some(slot)) = (&self.person, self.slots.get_mut(&id)) else {
            return session.channel_failure(id);
        };
        if name != "sftp" || slot.sftp.is_some() {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        let places = self
            .places
            .get_or_insert_with(|| self.door.users.places(&person.user()))
            .clone();
        let env = Arc::new(Env {
            session: person.clone(),
            options: Arc::clone(&self.door.options),
            pool: Arc::clone(&self.door.pool),
            places,
            queue: Arc::clone(&self.queue),
            draining: self.draining.clone(),
        });
        let sftp = Arc::new(SftpChannel::start(id, env, &self.traffic, session.handle()));
        let mut open = self.open.lock();
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&sftp));
        slot.sftp = Some(sftp);
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(slot) = self.slots.get_mut(&id) else {
            return Ok(());
        };
        let bytes = slot.drain().unwrap_or_else(|| Bytes::copy_from_slice(data));
        let Some(sftp) = &slot.sftp else {
            return Ok(());
        };
        if let Some(person) = &self.person {
            person.touch();
        }
        if !send(id, session, sftp.push(bytes))? {
            return Ok(());
        }
        // Only the backend is waited for, never the client: it may be waiting for us.
        while send(id, session, sftp.catch_up().await)? {}
        // From here on the driver is woken by what still runs: this callback waits no longer.
        send(id, session, sftp.resume())?;
        Ok(())
    }

    async fn window_adjusted(
        &mut self,
        id: ChannelId,
        _size: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.drain(id);
        let Some(sftp) = self.slots.get(&id).and_then(|slot| slot.sftp.as_ref()) else {
            return Ok(());
        };
        if let Some(person) = &self.person {
            person.touch();
        }
        send(id, session, sftp.resume())?;
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.drain(id);
        match self.slots.get(&id).map(|slot| &slot.sftp) {
            Some(Some(sftp)) => sftp.end(),
            Some(None) => {
                session.close(id)?;
                self.slots.remove(&id);
            }
            None => {}
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.slots.remove(&id);
        Ok(())
    }

    async fn extended_data(
        &mut self,
        id: ChannelId,
        _: u32,
        _: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.drain(id);
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.refuse_program(id, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse_program(id, session)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(id, session)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(id, session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(id, session)
    }

    async fn agent_request(&mut self, id: ChannelId, _session: &mut Session) -> Result<bool, Self::Error> {
        self.drain(id);
        Ok(false)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.drain(id);
        Ok(())
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        _signal: Sig,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.drain(id);
        Ok(())
    }
}
