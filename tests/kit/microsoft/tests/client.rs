//! A client that does nothing by itself: no retry, no paging, no headers but those given.

use portreeve_tests_microsoft::Standin;
use reqwest::{Certificate, Method, RequestBuilder, Response, redirect};
use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Got {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            bytes: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The code of an error of Graph.
    pub fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn ids(&self) -> Vec<String> {
        let json = self.json();
        json["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn builder(standin: &Standin) -> reqwest::ClientBuilder {
    let authority = std::fs::read(standin.ca_file()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(&authority).unwrap()])
        .redirect(redirect::Policy::none())
        .no_proxy()
}

pub fn http(standin: &Standin) -> reqwest::Client {
    builder(standin).build().unwrap()
}

/// One that speaks HTTP/1.1 only.
pub fn http1(standin: &Standin) -> reqwest::Client {
    builder(standin).http1_only().build().unwrap()
}

pub struct Client<'s> {
    pub standin: &'s Standin,
    pub http: reqwest::Client,
    pub token: String,
    pub immutable: bool,
}

impl<'s> Client<'s> {
    pub async fn new(standin: &'s Standin) -> Self {
        let http = http(standin);
        let mut made = Self {
            standin,
            http,
            token: String::new(),
            immutable: true,
        };
        made.sign_in().await;
        made
    }

    pub async fn sign_in(&mut self) {
        let got = self
            .token(&[
                ("client_id", self.standin.app_id()),
                ("client_secret", self.standin.secret()),
                ("grant_type", "client_credentials"),
                ("scope", "https://graph.microsoft.com/.default"),
            ])
            .await;
        assert_eq!(got.status, 200, "{}", got.json());
        self.token = got.json()["access_token"].as_str().unwrap().to_owned();
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Got {
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.standin.authority(),
            self.standin.tenant()
        );
        Got::of(self.http.post(url).form(form).send().await.unwrap()).await
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("https://") {
            return path.to_owned();
        }
        format!("{}/users/box@example.test/{path}", self.standin.graph())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, self.url(path)).bearer_auth(&self.token);
        if self.immutable {
            request = request.header("Prefer", "IdType=\"ImmutableId\"");
        }
        request
    }

    pub async fn get(&self, path: &str) -> Got {
        Got::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Got {
        Got::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Got {
        Got::of(self.request(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Got {
        Got::of(
            self.request(Method::PATCH, path)
                .json(&body)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    /// Every item of a list, page by page, and the last page.
    pub async fn all(&self, path: &str) -> (Vec<Value>, Value) {
        let mut items = Vec::new();
        let mut next = path.to_owned();
        loop {
            let got = self.get(&next).await;
            assert_eq!(got.status, 200, "{next}: {}", got.json());
            let page = got.json();
            items.extend(page["value"].as_array().unwrap().iter().cloned());
            match page["@odata.nextLink"].as_str() {
                Some(link) => next = link.to_owned(),
                None => return (items, page),
            }
        }
    }
}
