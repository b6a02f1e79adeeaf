//! Each room attacks one promise.

mod downloads;
mod ends;
pub(super) mod rig;
mod times;
mod uploads;
mod ways;
