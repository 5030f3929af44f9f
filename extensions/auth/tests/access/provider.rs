//! A provider of logins for tests, which can be told to lie: OpenID Connect, and what of GitHub is asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{browser::parameter, rig::base64};

pub const CLIENT: &str = "orlop";
pub const SECRET: &str = "sentinel-secret";

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    #[default]
    None,
    /// The ID token is for another client.
    Audience,
    /// It is from another issuer.
    Issuer,
    /// It is for another login.
    Nonce,
    /// It has no nonce at all.
    NoNonce,
    Expired,
    /// It is not signed.
    Unsigned,
    /// It is signed with the secret of the client.
    Hmac,
    /// It is signed with a key that is not the provider's.
    Key,
    NoToken,
    /// Asked about the user it speaks of another one.
    OtherUser,
    /// It says that its documents are elsewhere.
    Redirect,
}

pub struct Provider {
    pub address: String,
    state: Arc<State>,
}

struct State {
    address: String,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    lie: Lie,
    /// What is behind a code, until it is taken.
    codes: HashMap<String, Code>,
    /// What is said to whoever has the token.
    infos: HashMap<String, Value>,
    /// Requests, by their paths.
    asked: Vec<String>,
    /// Lists of GitHub, by their paths.
    lists: HashMap<String, Vec<Value>>,
}

struct Code {
    nonce: Option<String>,
    challenge: String,
    redirect_uri: String,
    claims: Value,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let state = State { address: address.clone(), key: key(), other_key: key(), told: Mutex::default() };
        let state = Arc::new(state);
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(serving.clone(), stream));
            }
        });
        Provider { address, state }
    }

    pub fn lie(&self, lie: Lie) {
        self.state.told.lock().expect("whole").lie = lie;
    }

    pub fn asked(&self, path: &str) -> usize {
        self.state.told.lock().expect("whole").asked.iter().filter(|asked| *asked == path).count()
    }

    /// What GitHub's interface lists at a path. Without it the answer is 403.
    pub fn list(&self, path: &str, entries: Vec<Value>) {
        self.state.told.lock().expect("whole").lists.insert(path.to_owned(), entries);
    }

    /// Somebody logs in at the address that a browser was sent to. Gives what the browser brings back: the query.
    pub fn log_in(&self, address: &str, claims: Value) -> String {
        let decoded = |name| parameter(address, name).map(percent_decoded);
        assert_eq!(decoded("client_id").as_deref(), Some(CLIENT), "{address}");
        assert_eq!(decoded("response_type").as_deref(), Some("code"), "{address}");
        assert_eq!(decoded("code_challenge_method").as_deref(), Some("S256"), "{address}");
        let code = Code {
            nonce: decoded("nonce"),
            challenge: decoded("code_challenge").expect("a challenge"),
            redirect_uri: decoded("redirect_uri").expect("an address"),
            claims,
        };
        let mut told = self.state.told.lock().expect("whole");
        let name = format!("code-{}", told.codes.len() + told.infos.len());
        told.codes.insert(name.clone(), code);
        format!("code={name}&state={}", parameter(address, "state").expect("a state"))
    }
}

async fn serve(state: Arc<State>, mut stream: TcpStream) {
    let mut received = Vec::new();
    let (head, body) = loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = field(head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let (status, fields, document) = state.answer(&head, &body);
    let document = document.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n\
         {document}",
        document.len(),
    );
    // A client that has had enough goes away.
    let _ = stream.write_all(answer.as_bytes()).await;
}

impl State {
    fn answer(&self, head: &str, body: &str) -> (&'static str, String, Value) {
        let target = head.split(' ').nth(1).expect("a target");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut told = self.told.lock().expect("whole");
        told.asked.push(path.to_owned());
        let found = |document| ("200 OK", String::new(), document);
        match path {
            "/.well-known/openid-configuration" if told.lie == Lie::Redirect => {
                ("302 Found", format!("location: {}/elsewhere\r\n", self.address), json!({}))
            }
            "/.well-known/openid-configuration" | "/elsewhere" => found(self.discovery()),
            "/keys" => found(self.keys()),
            "/token" => self.token(&mut told, head, body),
            "/info" => match bearer(head).and_then(|token| told.infos.get(token)) {
                Some(info) => found(info.clone()),
                None => ("401 Unauthorized", String::new(), json!({})),
            },
            _ => match (told.lists.get(path), bearer(head).is_some_and(|token| told.infos.contains_key(token))) {
                (Some(entries), true) => found(page(entries, query)),
                (None, true) => ("403 Forbidden", String::new(), json!({ "message": "no" })),
                _ => ("401 Unauthorized", String::new(), json!({})),
            },
        }
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.address);
        json!({
            "issuer": self.address,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/info"),
            "end_session_endpoint": at("/end"),
            "jwks_uri": at("/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        })
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": x, "y": y }] })
    }

    fn token(&self, told: &mut Told, head: &str, body: &str) -> (&'static str, String, Value) {
        let form = format!("?{body}");
        let given = |name| parameter(&form, name).map(percent_decoded).unwrap_or_default();
        let refused = |error: &str| ("400 Bad Request", String::new(), json!({ "error": error }));
        let basic = format!("Basic {}", base64(format!("{CLIENT}:{SECRET}").as_bytes()));
        let is_client = field(head, "authorization") == Some(&basic)
            || (given("client_id"), given("client_secret")) == (CLIENT.to_owned(), SECRET.to_owned());
        if !is_client {
            return refused("invalid_client");
        }
        let Some(code) = told.codes.remove(&given("code")) else { return refused("invalid_grant") };
        let challenge = base64url(digest::digest(&digest::SHA256, given("code_verifier").as_bytes()).as_ref());
        if code.redirect_uri != given("redirect_uri") || code.challenge != challenge {
            return refused("invalid_grant");
        }
        let token = format!("token-{}", told.infos.len());
        let mut info = code.claims.clone();
        if told.lie == Lie::OtherUser {
            info["sub"] = json!("somebody else");
        }
        told.infos.insert(token.clone(), info);
        let mut document = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 60 });
        if told.lie != Lie::NoToken {
            document["id_token"] = json!(self.id_token(told.lie, &code));
        }
        ("200 OK", String::new(), document)
    }

    fn id_token(&self, lie: Lie, code: &Code) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims: Map<String, Value> = Map::new();
        claims.insert("iss".into(), json!(if lie == Lie::Issuer { "http://evil.example" } else { &self.address }));
        claims.insert("aud".into(), json!(if lie == Lie::Audience { "another" } else { CLIENT }));
        claims.insert("sub".into(), code.claims["sub"].clone());
        claims.insert("iat".into(), json!(now - 100));
        claims.insert("exp".into(), json!(if lie == Lie::Expired { now - 10 } else { now + 60 }));
        claims.insert("token_groups".into(), code.claims["token_groups"].clone());
        let nonce = if lie == Lie::Nonce { Some("another".to_owned()) } else { code.nonce.clone() };
        if let Some(nonce) = nonce.filter(|_| lie != Lie::NoNonce) {
            claims.insert("nonce".into(), json!(nonce));
        }
        let algorithm = match lie {
            Lie::Unsigned => "none",
            Lie::Hmac => "HS256",
            _ => "ES256",
        };
        let head = json!({ "alg": algorithm, "kid": "1", "typ": "JWT" }).to_string();
        let content = [head, Value::Object(claims).to_string()].map(|part| base64url(part.as_bytes())).join(".");
        let signature = match lie {
            Lie::Unsigned => Vec::new(),
            Lie::Hmac => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), content.as_bytes()).as_ref().to_vec()
            }
            Lie::Key => signed(&self.other_key, &content),
            _ => signed(&self.key, &content),
        };
        format!("{content}.{}", base64url(&signature))
    }
}

fn signed(key: &EcdsaKeyPair, content: &str) -> Vec<u8> {
    key.sign(&SystemRandom::new(), content.as_bytes()).expect("signed").as_ref().to_vec()
}

fn page(entries: &[Value], query: &str) -> Value {
    let query = format!("?{query}");
    let number = |name| parameter(&query, name).and_then(|number| number.parse::<usize>().ok()).expect("a number");
    let (len, page) = (number("per_page"), number("page"));
    assert_eq!(len, 100, "GitHub's largest pages");
    Value::Array(entries.iter().skip(len * (page - 1)).take(len).cloned().collect())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn bearer(head: &str) -> Option<&str> {
    field(head, "authorization")?.strip_prefix("Bearer ")
}

fn base64url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                let digits = std::str::from_utf8(&digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
