//! The command line: `portreeve VERB …`.
//!
//! Exit codes: 0 done, 1 failed, 2 usage or configuration. What is asked for goes to standard output,
//! what is told goes to standard error; passwords come from standard input, never from arguments.

mod accounts;
mod arguments;
mod ask;
mod audit;
mod doctor;
mod manual;
mod offline;
mod out;
mod secrets;
mod serve;
mod show;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};

use arguments::{Arguments, AuditVerb, BanVerb, ExplainVerb, SessionVerb, Verb};
pub(crate) use out::Out;
pub(crate) use serve::{Signals, runtime, start};

use crate::{
    check::CheckError,
    control::{Realm, Request, SecretRequest},
};

/// How a verb ended.
pub(crate) enum Failure {
    /// It did not work: 1.
    Failed(String),
    /// The command line or the configuration is wrong: 2.
    Usage(String),
    /// The same, told already.
    Told(u8),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Told(code) => *code,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut out = Out::standard();
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nobody is left to be told.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    out.json = parsed.json;
    match run(parsed, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.code();
            if let Failure::Failed(why) | Failure::Usage(why) = failure {
                out.failure(&why);
            }
            ExitCode::from(code)
        }
    }
}

fn run(arguments: Arguments, out: &mut Out) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Serve(from) => serve::serve(&from.config),
        Verb::Check(from) => serve::check(&from.config, out),
        Verb::Demo { dir, ephemeral } => crate::demo::run(&dir, ephemeral, out),
        Verb::HashPassword => secrets::hash(out),
        Verb::Status(from) => ask::ask(&from.config, Request::Status, out, show::status),
        Verb::Reload(from) => ask::ask(&from.config, Request::Reload, out, show::reload),
        Verb::Account { verb } => accounts::run(Realm::Transfer, verb.parts()?, out),
        Verb::Admin { verb } => accounts::run(Realm::Admin, verb.parts()?, out),
        Verb::Ban { verb } => match verb {
            BanVerb::List(from) => ask::ask(&from.config, Request::BanList, out, show::bans),
            BanVerb::Add {
                address,
                length,
                reason,
                from,
            } => ask::ask(
                &from.config,
                Request::BanAdd {
                    address,
                    length,
                    reason,
                },
                out,
                show::done,
            ),
            BanVerb::Remove { address, from } => {
                ask::ask(&from.config, Request::BanRemove { address }, out, show::done)
            }
        },
        Verb::Session { verb } => match verb {
            SessionVerb::List(from) => ask::ask(&from.config, Request::SessionList, out, show::sessions),
            SessionVerb::Kill { session, from } => {
                ask::ask(&from.config, Request::SessionKill { session }, out, show::done)
            }
        },
        Verb::Explain { verb } => match verb {
            ExplainVerb::Login {
                user,
                from,
                protocol,
                credential,
                config,
            } => {
                let credential = if credential == "key" {
                    "public-key".to_owned()
                } else {
                    credential
                };
                let request = Request::ExplainLogin {
                    user,
                    from,
                    listener: protocol,
                    credential,
                };
                ask::ask(&config.config, request, out, show::login)
            }
            ExplainVerb::Access {
                user,
                path,
                verb,
                protocol,
                config,
            } => ask::ask(
                &config.config,
                Request::ExplainAccess {
                    user,
                    path,
                    verb,
                    listener: protocol,
                },
                out,
                show::access,
            ),
        },
        Verb::Doctor(what) => doctor::examine(what, out),
        Verb::Secret { verb } => {
            let (config, what) = verb.parts()?;
            let show = match &what {
                SecretRequest::List => show::secrets,
                _ => show::done,
            };
            ask::ask(&config, Request::Secret { what }, out, show)
        }
        Verb::Audit {
            verb: AuditVerb::Verify { files },
        } => audit::verify(&files, out),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "portreeve", &mut text);
            Ok(out.raw(&text)?)
        }
        Verb::Man => Ok(out.raw(&manual::page()?)?),
        Verb::Reference { what } => {
            let text = match what {
                arguments::ReferenceText::Config => crate::options::complete(),
                arguments::ReferenceText::Schema => schema_text(),
            };
            Ok(out.raw(text.as_bytes())?)
        }
    }
}

/// The schema as it lies in `config/schema.json`.
pub(crate) fn schema_text() -> String {
    // A value of JSON has a text.
    let mut text = serde_json::to_string_pretty(&crate::options::schema()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
