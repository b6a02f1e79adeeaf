//! PASS (RFC 959, section 4.1.1): the password, where a second factor is asked for with its code
//! (`password+code`). The chain decides, and its refusals look the same.

use portreeve_model::Secret;
use portreeve_session::{Credential, SignIn};

use super::{Answer, Step, say};
use crate::{
    control::{Client, Who, texts, too_many},
    wire::Reply,
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let user = match std::mem::replace(&mut client.who, Who::Nobody) {
        Who::Named(user) => user,
        was @ Who::In(_) => {
            client.who = was;
            return say(503, "you are signed in");
        }
        Who::Nobody => return say(503, "first the name, with USER"),
    };
    // What is no text is nobody's password; it costs the same as any other.
    let password = Secret::new(String::from_utf8_lossy(argument).into_owned());
    match client
        .connection
        .sign_in(&user, Credential::Password(password))
        .await
    {
        SignIn::Welcome(session) => {
            client.cwd = session.fs().home();
            client.who = Who::In(session);
            let text = client.door.options.login_text.as_deref();
            Ok(Step::Say(texts(230, text, "welcome")))
        }
        // FTP cannot show questions: whoever is asked something sends it with the password.
        SignIn::Ask { .. } | SignIn::Refused => say(530, "not signed in"),
        SignIn::Closed => Ok(Step::Leave(too_many())),
        SignIn::Full(why) => Ok(Step::Leave(Reply::new(421, why))),
    }
}
