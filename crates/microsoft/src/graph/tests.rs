//! Graph's mail client against a server that plays what it does at its worst.

mod batches;
mod hosts;
mod lists;
mod raw;
mod repeats;
mod uploads;
