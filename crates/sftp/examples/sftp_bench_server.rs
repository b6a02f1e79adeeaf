//! The SFTP door alone over a directory, for measuring it against other servers:
//! `sftp_bench_server ROOT ADDRESS KEYDIR [AUTHORIZED_PUBLIC_KEY]`. User `bench`, password `bench`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use portreeve_auth::{
    Attempt, Audience, Chain, Credential, CredentialKind, GroupRule, Identity, KeyAnswer, Method, Reason,
    Resolver, Standing, Step, Verdict,
};
use portreeve_model::{Door, GroupName, Origin};
use portreeve_session::{
    Gatekeeper, GroupPlan, LimitsOptions, MemoryQuota, MountOptions, MountPlan, World, audit::Audit,
};
use portreeve_sftp::{HostKeys, SftpDoor, SftpOptions, serve};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Bench {
    key: Option<ssh_key::PublicKey>,
    group: GroupName,
}

impl Bench {
    fn is_key(&self, attempt: &Attempt) -> bool {
        matches!((&attempt.credential, &self.key), (Credential::PublicKey(offered), Some(key))
            if offered.0.key_data() == key.key_data())
    }
}

#[async_trait]
impl Method for Bench {
    fn answers(&self, _: &Attempt) -> bool {
        true
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::PublicKey]
    }

    async fn knows_key(&self, attempt: &Attempt) -> KeyAnswer {
        if self.is_key(attempt) {
            KeyAnswer::Yes
        } else {
            KeyAnswer::No
        }
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        let password =
            matches!(&attempt.credential, Credential::Password(secret) if secret.expose() == "bench");
        if !password && !self.is_key(attempt) {
            return Verdict::Reject(Reason("wrong".into()));
        }
        Verdict::Accept(Identity {
            user: attempt.user.clone(),
            subject: attempt.user.as_str().to_owned(),
            groups: vec![self.group.clone()],
            roles: vec![],
            external: vec![],
            claims: BTreeMap::new(),
        })
    }

    async fn still_valid(&self, _: &Identity, _: Audience) -> Standing {
        Standing::Valid
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &'static str| args.next().ok_or(format!("missing: {what}"));
    let root: PathBuf = next("ROOT")?.into();
    let address = next("ADDRESS")?;
    let keys: PathBuf = next("KEYDIR")?.into();
    let key = args
        .next()
        .map(|text| ssh_key::PublicKey::from_openssh(&text))
        .transpose()?;

    let group = GroupName::new("staff")?;
    let disk = Arc::new(portreeve_disk::Disk::open(&portreeve_disk::Options::new(root))?);
    let mount: MountOptions = serde_json::from_str(r#"{"path":"/","storage":"disk","verbs":"full"}"#)?;
    let mount = MountPlan::new(&mount, disk).map_err(|problems| problems.join(", "))?;
    let groups = BTreeMap::from([(group.clone(), GroupPlan { mounts: vec![mount] })]);
    let rule = GroupRule {
        group: group.clone(),
        external: vec![],
    };
    let chain = Chain::new(vec![Step::method("bench", Arc::new(Bench { key, group }))]);
    let limits = LimitsOptions {
        connections_per_ip: 2000,
        sessions_per_user: 2000,
        ..LimitsOptions::default()
    };
    let world = World::new(chain, Resolver::new(vec![rule], vec![]), groups, limits);
    let gate = Gatekeeper::new(world, Audit::nowhere(), Arc::new(MemoryQuota::default()));

    let door = SftpDoor::new(&SftpOptions::default(), &HostKeys::load_or_create(&keys)?);
    let listener = TcpListener::bind(&address).await?;
    loop {
        let (socket, peer) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let origin = Origin::new(Door::Sftp, "sftp".into(), peer, socket.local_addr()?);
        if let Ok(connection) = gate.knock(origin, Audience::Transfer).await {
            tokio::spawn(serve(Arc::clone(&door), socket, connection));
        }
    }
}
