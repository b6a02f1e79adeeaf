//! The SSH door: an own SFTP server on russh
