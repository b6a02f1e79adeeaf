//! Control connections as clients meet them: over real sockets, with a real gatekeeper over a storage in
//! memory and its audit file read back. Each room attacks one promise.

mod downloads;
mod endings;
mod files;
mod gates;
mod listings;
mod meanwhile;
mod nonsense;
mod protection;
mod rig;
mod settings;
mod signing_in;
mod uploads;
mod ways;
