//! State in a database: accounts, bans, quota use, administrators
