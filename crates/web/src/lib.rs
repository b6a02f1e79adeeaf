//! The HTTPS door: pages, the file API, browser sign-in
