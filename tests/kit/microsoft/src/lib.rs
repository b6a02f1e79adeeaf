//! A stand-in for Entra's token endpoint and Graph mail.
