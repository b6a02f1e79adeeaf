//! Mailboxes as file systems: attachments are files
