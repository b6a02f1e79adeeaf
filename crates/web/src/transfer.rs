//! Bytes on their way: out of files into answers, and out of requests into files.

pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod pool;
