//! Secrets from standard input.

use std::io::{self, BufRead, Read};

use portreeve_auth::hash_password;
use portreeve_model::Secret;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Out, out::person_types};

/// Longest line that is read.
const MAX: u64 = 64 << 10;

/// One line, its end cut off.
pub(super) fn line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().take(MAX).read_line(&mut line)?;
    if line.len() as u64 == MAX && !line.ends_with('\n') {
        // A part of it would be another secret.
        return Err(Failure::Usage(format!(
            "the line from standard input is longer than {MAX} bytes"
        )));
    }
    let plain = line.trim_end_matches(['\n', '\r']);
    if plain.is_empty() {
        return Err(Failure::Usage(
            "nothing came from standard input: pipe one line in, as in printf '%s\\n' \"$SECRET\" | portreeve …"
                .to_owned(),
        ));
    }
    Ok(plain.to_owned())
}

/// The hash of the password in one line of standard input.
pub(super) fn hashed() -> Result<String, Failure> {
    if person_types() {
        Out::standard().note("Type the password and press Enter (it is shown; better pipe it in):");
    }
    let password = Zeroizing::new(line()?);
    hash_password(&Secret::new(password.to_string())).map_err(|error| Failure::Failed(error.to_string()))
}

/// `hash-password`.
pub(super) fn hash(out: &mut Out) -> Result<(), Failure> {
    let hash = hashed()?;
    Ok(out.answer(&json!({ "hash": hash }), |_| hash.clone())?)
}
