//! The ordered chain: gates, methods, verdicts, the sealed principal
