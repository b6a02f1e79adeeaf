//! Each room attacks one promise.

mod downloads;
mod ends;
mod times;
mod uploads;
mod ways;
