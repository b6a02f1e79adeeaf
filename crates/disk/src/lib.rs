//! Local disk, confined to its root
