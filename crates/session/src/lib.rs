//! The choke point: admission, grants, the user's file system, audit, quotas, registry
