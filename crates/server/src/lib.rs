//! Portreeve: the server and its command line
