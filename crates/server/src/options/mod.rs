//! The configuration as a whole: which sections there are, whose options they hold, and what comes
//! out when they were read.
//!
//! Each crate owns the options of what it does; this room adds what only the server knows (names,
//! addresses, the chain's policy) and ties the words `protocol` and `type` to them.

mod assemble;
mod complete;
mod config;
mod kinds;
mod sections;

pub use assemble::schema;
pub use complete::complete;
pub use config::{Config, Group, Listener, Protocol, Role, Step, StepKind, Storage, StorageKind};
pub(crate) use kinds::{AUTH, Family, LISTENER, Nothing, STORAGE};
pub use sections::{
    GateOptions, ListenerOptions, LogFormat, LogLevel, LogOptions, MethodOptions, MetricsOptions, OnTrouble,
    RoleOptions, ServerOptions, SpoolOptions, StoreOptions, TlsOptions,
};
