//! The codec against tables, against itself, and against whatever proptest thinks of.
