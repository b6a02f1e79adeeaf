//! The app registration that the options describe, and the way to its hosts. Nothing is asked here.

use portreeve_microsoft::{App, Net, NetOptions};

use super::{ExchangeOptions, ExchangeSecrets};
use crate::OptionsError;

impl ExchangeOptions {
    /// The app, ready to ask for tokens.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option: a file cannot be read, a key or an address cannot be used.
    pub(crate) fn app(&self, secrets: &ExchangeSecrets) -> Result<App, OptionsError> {
        let wrong = |option: &'static str, text: String| OptionsError { option, text };
        let way = NetOptions {
            proxy: self.proxy.clone(),
            ca_file: self.ca_file.clone(),
        };
        let net = Net::open(&way).map_err(|error| {
            let option = if self.proxy.is_some() { "proxy" } else { "ca_file" };
            wrong(option, error.to_string())
        })?;
        let mut app = App::new(
            self.cloud,
            self.directory_id.clone(),
            self.application_id.clone(),
            self.credential(secrets)?,
            net,
        );
        app.authority = self.authority_base();
        app.grace = self.token_grace.0;
        Ok(app)
    }
}
