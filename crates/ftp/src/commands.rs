//! The table of commands: what each is called, the state it needs, whether the control connection must
//! have TLS, the verb that the choke point will ask for, and the room that runs it.
//!
//! Invariant: a command is found here or it is none; the table is asked before its room is.

mod abor;
mod acct;
mod allo;
mod auth;
mod avbl;
mod ccc;
mod cdup;
mod clnt;
mod csid;
mod cwd;
mod dele;
mod eprt;
mod epsv;
mod feat;
mod hash;
mod help;
mod host;
mod lang;
mod list;
mod listing;
mod mdtm;
mod mfct;
mod mfmt;
mod mkd;
mod mlsd;
mod mlst;
mod mode;
mod nlst;
mod noop;
mod opts;
mod pass;
mod pasv;
mod pbsz;
mod port;
mod prot;
mod pwd;
mod quit;
mod rang;
mod rein;
mod rest;
mod retr;
mod rmd;
mod rnfr;
mod rnto;
mod site;
mod size;
mod smnt;
mod stat;
mod stor;
mod stou;
mod stru;
mod syst;
mod r#type;
mod user;

use futures::future::BoxFuture;
use portreeve_model::Verb;
use portreeve_session::FsError;

pub(crate) use hash::Algorithm;

use crate::{control::Client, wire::Reply};

/// What follows a command.
pub(crate) enum Step {
    /// This is said.
    Say(Reply),
    /// This is said, and a TLS handshake follows.
    StartTls(Reply),
    /// This is said, and the connection is closed.
    Leave(Reply),
    /// The control connection is gone.
    Gone,
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Say(reply)
    }
}

impl From<FsError> for Step {
    fn from(error: FsError) -> Self {
        Self::Say(crate::control::reply(&error))
    }
}

/// What a command answers; both sides are steps, so that `?` hands a refusal on.
pub(crate) type Answer = Result<Step, Step>;

/// A reply as an answer.
fn say(code: u16, text: impl Into<std::borrow::Cow<'static, str>>) -> Answer {
    Ok(Step::Say(Reply::new(code, text)))
}

type Run = for<'a> fn(&'a mut Client, &'a [u8]) -> BoxFuture<'a, Answer>;

/// One command.
pub(crate) struct Command {
    /// Its name, in capitals.
    pub(crate) name: &'static str,
    /// Its arguments, for HELP.
    pub(crate) syntax: &'static str,
    /// Whether only somebody who signed in may use it.
    pub(crate) signed_in: bool,
    /// Whether the control connection must have TLS, where the listener asks for it.
    pub(crate) tls: bool,
    /// What the choke point asks for (the first of several); none where no file is concerned.
    pub(crate) verb: Option<Verb>,
    /// Its room.
    pub(crate) run: Run,
}

/// The command of this name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    TABLE
        .binary_search_by(|command| command.name.cmp(name))
        .ok()
        .and_then(|at| TABLE.get(at))
}

/// Everybody's: `NAME syntax room`. Somebody's: a verb or `-` too.
macro_rules! table {
    ($($name:literal $syntax:literal $who:ident $verb:tt $room:ident)*) => {
        &[$(Command {
            name: $name,
            syntax: $syntax,
            signed_in: table!(@in $who),
            tls: table!(@tls $who),
            verb: table!(@verb $verb),
            run: |client, argument| Box::pin($room::run(client, argument)),
        }),*]
    };
    (@in anybody) => { false };
    (@in protected) => { false };
    (@in person) => { true };
    (@tls anybody) => { false };
    (@tls protected) => { true };
    (@tls person) => { true };
    (@verb -) => { None };
    (@verb $verb:ident) => { Some(Verb::$verb) };
}

/// In the order of names. `anybody`: in every state. `protected`: with TLS, where the listener asks for
/// it. `person`: signed in as well.
pub(crate) const TABLE: &[Command] = table! {
    "ABOR" ""                      person    -         abor
    "ACCT" "account"               protected -         acct
    "ALLO" "bytes"                 person    -         allo
    "APPE" "path"                  person    Append    appe
    "AUTH" "TLS"                   anybody   -         auth
    "AVBL" "[path]"                person    List      avbl
    "CCC"  ""                      anybody   -         ccc
    "CDUP" ""                      person    List      cdup
    "CLNT" "name"                  anybody   -         clnt
    "CSID" "name"                  anybody   -         csid
    "CWD"  "path"                  person    List      cwd
    "DELE" "path"                  person    Delete    dele
    "EPRT" "|protocol|address|port|" person  -         eprt
    "EPSV" "[1|2|ALL]"             person    -         epsv
    "FEAT" ""                      anybody   -         feat
    "HASH" "path"                  person    Read      hash
    "HELP" "[command]"             anybody   -         help
    "HOST" "name"                  anybody   -         host
    "LANG" "[tag]"                 anybody   -         lang
    "LIST" "[path]"                person    List      list
    "MDTM" "path"                  person    List      mdtm
    "MFCT" "time path"             person    SetAttrs  mfct
    "MFMT" "time path"             person    SetAttrs  mfmt
    "MKD"  "path"                  person    MakeDir   mkd
    "MLSD" "[path]"                person    List      mlsd
    "MLST" "[path]"                person    List      mlst
    "MODE" "S"                     person    -         mode
    "NLST" "[path]"                person    List      nlst
    "NOOP" ""                      anybody   -         noop
    "OPTS" "option [value]"        anybody   -         opts
    "PASS" "password"              protected -         pass
    "PASV" ""                      person    -         pasv
    "PBSZ" "0"                     anybody   -         pbsz
    "PORT" "h1,h2,h3,h4,p1,p2"     person    -         port
    "PROT" "P"                     anybody   -         prot
    "PWD"  ""                      person    -         pwd
    "QUIT" ""                      anybody   -         quit
    "RANG" "first last"            person    -         rang
    "REIN" ""                      anybody   -         rein
    "REST" "offset"                person    -         rest
    "RETR" "path"                  person    Read      retr
    "RMD"  "path"                  person    Delete    rmd
    "RNFR" "path"                  person    Rename    rnfr
    "RNTO" "path"                  person    Rename    rnto
    "SITE" "CHMOD|UTIME|HELP …"    person    SetAttrs  site
    "SIZE" "path"                  person    List      size
    "SMNT" "path"                  person    -         smnt
    "STAT" "[path]"                anybody   List      stat
    "STOR" "path"                  person    Create    stor
    "STOU" "[path]"                person    Create    stou
    "STRU" "F"                     person    -         stru
    "SYST" ""                      anybody   -         syst
    "TYPE" "A|I"                   person    -         type_
    "USER" "name"                  protected -         user
    "XCRC" "path [first [last]]"   person    Read      xcrc
    "XCUP" ""                      person    List      cdup
    "XCWD" "path"                  person    List      cwd
    "XMD5" "path [first [last]]"   person    Read      xmd5
    "XMKD" "path"                  person    MakeDir   mkd
    "XPWD" ""                      person    -         pwd
    "XRMD" "path"                  person    Delete    rmd
    "XSHA256" "path [first [last]]" person   Read      xsha256
    "XSHA512" "path [first [last]]" person   Read      xsha512
};

use hash::{xcrc, xmd5, xsha256, xsha512};
use stor::appe;
use r#type as type_;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_every_command_is_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for command in TABLE {
            assert_eq!(find(command.name).map(|found| found.name), Some(command.name));
        }
        assert!(find("SITE CPFR").is_none() && find("user").is_none() && find("").is_none());
    }

    #[test]
    fn what_touches_files_or_data_connections_is_for_people_who_signed_in_over_tls() {
        let open = [
            "AUTH", "CCC", "CLNT", "CSID", "FEAT", "HELP", "HOST", "LANG", "NOOP", "OPTS", "PBSZ", "PROT",
            "QUIT", "REIN", "STAT", "SYST",
        ];
        for command in TABLE {
            let name = command.name;
            match (command.signed_in, command.tls) {
                (true, true) => assert!(!open.contains(&name), "{name}"),
                (false, true) => assert!(["USER", "PASS", "ACCT"].contains(&name), "{name}"),
                (false, false) => assert!(open.contains(&name), "{name}"),
                (true, false) => panic!("{name} is for people without TLS"),
            }
        }
    }
}
