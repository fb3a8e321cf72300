//! A small provider of OpenID Connect: it believes whoever comes, and lies when told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use ring::{digest, hmac};
use serde_json::{Value, json};

pub const CLIENT: &str = "moznods-test";
pub const SECRET: &str = "the client's own secret";
/// Made for these tests alone.
const RSA_KEY: &str = include_str!("oidc_key.txt");

/// What is wrong with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    Nothing,
    Nonce,
    NoNonce,
    Audience,
    Expired,
    Issuer,
    /// Signed by a key that it does not publish.
    Key,
    /// Not signed.
    Unsigned,
    /// Signed by the client's secret.
    Hmac,
    NoIdToken,
    /// An answer of a megabyte.
    Long,
    RefusesCode,
    /// The user does not agree.
    Denied,
}

pub struct Provider {
    pub issuer: String,
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
    state: Mutex<Told>,
}

struct Told {
    lie: Lie,
    eddsa: bool,
    claims: Value,
    /// Whether the ID token has no more than the subject.
    terse: bool,
    /// By code: what came with the request for it.
    codes: HashMap<String, HashMap<String, String>>,
    discovered: usize,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = RSA_KEY.split_whitespace().collect::<String>();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            rsa: RsaKeyPair::from_der(&STANDARD.decode(key).unwrap()).unwrap(),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
            state: Mutex::new(Told {
                lie: Lie::Nothing,
                eddsa: false,
                claims: Value::Null,
                terse: false,
                codes: HashMap::new(),
                discovered: 0,
            }),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Provider { issuer, shared }
    }

    /// With which a server uses it.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            format!("--accounts-oidc-issuer={}", self.issuer),
            format!("--accounts-oidc-client-id={CLIENT}"),
            format!("--accounts-oidc-client-secret={SECRET}"),
        ]
    }

    /// Who signs in from now on.
    pub fn sees(&self, claims: Value) {
        self.shared.told().claims = claims;
    }

    pub fn lies(&self, lie: Lie) {
        self.shared.told().lie = lie;
    }

    /// Signs by Ed25519, not RSA.
    pub fn signs_by_eddsa(&self) {
        self.shared.told().eddsa = true;
    }

    /// Names and mails are told at the user info endpoint alone.
    pub fn is_terse(&self) {
        self.shared.told().terse = true;
    }

    /// How often its document was read.
    pub fn discovered(&self) -> usize {
        self.shared.told().discovered
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap()
    }
}

type Asked = State<Arc<Shared>>;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn discovery(State(shared): Asked) -> Json<Value> {
    shared.told().discovered += 1;
    let issuer = &shared.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "EdDSA"],
    }))
}

async fn keys(State(shared): Asked) -> Json<Value> {
    let rsa = PublicKeyComponents::<Vec<u8>>::from(shared.rsa.public());
    Json(json!({"keys": [
        {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": b64(rsa.n), "e": b64(rsa.e)},
        {"kty": "OKP", "use": "sig", "alg": "EdDSA", "kid": "ed", "crv": "Ed25519", "x": b64(shared.ed25519.public_key())},
    ]}))
}

async fn authorize(State(shared): Asked, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], CLIENT);
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
    let (back, state) = (asked["redirect_uri"].clone(), asked["state"].clone());
    let mut told = shared.told();
    if told.lie == Lie::Denied {
        return Redirect::to(&format!("{back}?error=access_denied&state={state}"));
    }
    let code = format!("code-{}", told.codes.len());
    told.codes.insert(code.clone(), asked);
    Redirect::to(&format!("{back}?code={code}&state={state}"))
}

async fn token(
    State(shared): Asked,
    headers: HeaderMap,
    Form(asked): Form<HashMap<String, String>>,
) -> Response {
    let refuse =
        |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    // Both parts are written as in a form before they are joined (RFC 6749 §2.3.1).
    let secret = SECRET.replace('\'', "%27").replace(' ', "+");
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{secret}")));
    if headers[header::AUTHORIZATION] != basic.as_str() {
        return refuse("invalid_client");
    }
    let mut told = shared.told();
    let Some(begun) = told.codes.get_mut(&asked["code"]).map(std::mem::take) else {
        return refuse("invalid_grant");
    };
    let proof = digest::digest(&digest::SHA256, asked["code_verifier"].as_bytes());
    let matches = !begun.is_empty()
        && begun["code_challenge"] == b64(proof)
        && begun["redirect_uri"] == asked["redirect_uri"];
    if !matches || told.lie == Lie::RefusesCode {
        return refuse("invalid_grant");
    }
    let mut answer =
        json!({"access_token": "access-token", "token_type": "Bearer", "expires_in": 60});
    if told.lie != Lie::NoIdToken {
        answer["id_token"] = shared.id_token(&told, &begun["nonce"]).into();
    }
    if told.lie == Lie::Long {
        answer["padding"] = "x".repeat(1_000_000).into();
    }
    Json(answer).into_response()
}

async fn user_info(State(shared): Asked, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer access-token");
    Json(shared.told().claims.clone())
}

impl Shared {
    fn id_token(&self, told: &Told, nonce: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut claims = match told.terse {
            true => json!({"sub": told.claims["sub"]}),
            false => told.claims.clone(),
        };
        let mut set = |name: &str, value: Value| claims[name] = value;
        set("iss", self.issuer.as_str().into());
        set("aud", CLIENT.into());
        set("iat", now.into());
        set("exp", (now + 300).into());
        set("nonce", nonce.into());
        match told.lie {
            Lie::Nonce => set("nonce", "another".into()),
            Lie::NoNonce => set("nonce", Value::Null),
            Lie::Audience => set("aud", "another".into()),
            Lie::Expired => set("exp", (now - 1).into()),
            Lie::Issuer => set("iss", "https://other.example".into()),
            _ => {}
        }
        let (algorithm, key) = match told.lie {
            Lie::Unsigned => ("none", "rsa"),
            Lie::Hmac => ("HS256", "rsa"),
            _ if told.eddsa => ("EdDSA", "ed"),
            _ => ("RS256", "rsa"),
        };
        let head = json!({"alg": algorithm, "kid": key, "typ": "JWT"});
        let signed = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let signature = match (told.lie, algorithm) {
            (Lie::Unsigned, _) => Vec::new(),
            (Lie::Hmac, _) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            (Lie::Key, _) => vec![7; self.rsa.public().modulus_len()],
            (_, "EdDSA") => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let random = SystemRandom::new();
                self.rsa
                    .sign(
                        &RSA_PKCS1_SHA256,
                        &random,
                        signed.as_bytes(),
                        &mut signature,
                    )
                    .unwrap();
                signature
            }
        };
        format!("{signed}.{}", b64(signature))
    }
}
