//! What operations people see: logs, metrics, probes, and what the system is told and asked.

pub mod logs;
pub mod metrics;
pub mod notify;
pub mod panics;
pub mod probes;
pub mod system;
