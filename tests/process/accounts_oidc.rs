//! Sign-in by a provider of OpenID Connect.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::oidc_provider::{Lie, Provider, SECRET};
use crate::support::{PASSWORD, Server, User, answer, keys, text};

/// A browser, as far as it matters here: it keeps one cookie, and goes where it is told.
struct Browser<'a> {
    server: &'a Server,
    http: Client,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Self {
        let http = Client::builder().redirect(Policy::none());
        Browser {
            server,
            http: http.build().unwrap(),
            cookie: None,
        }
    }

    fn keep(&mut self, response: &Response) {
        if let Some(set) = response.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
            assert!(set.contains("; Path=/api/auth/oidc/"), "{set}");
            self.cookie = Some(set.split(';').next().unwrap().to_owned());
        }
    }

    /// Where a page leads.
    async fn go(&mut self, url: &str) -> String {
        let mut request = self.http.get(url);
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", cookie);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 303, "{url}");
        self.keep(&response);
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    async fn start(&mut self) -> String {
        self.go(&format!("{}/api/auth/oidc/start/", self.server.url))
            .await
    }

    /// The way to the provider and back: the page of the web client to which it leads, without what stands before `#/`.
    async fn round(&mut self) -> String {
        let provider = self.start().await;
        self.back_from(&provider).await
    }

    async fn back_from(&mut self, provider: &str) -> String {
        let back = self.go(provider).await;
        self.page(&back).await
    }

    async fn page(&mut self, callback: &str) -> String {
        let page = self.go(callback).await;
        let own = format!("{}/#/", self.server.url);
        page.strip_prefix(&own)
            .unwrap_or_else(|| panic!("{page}"))
            .to_owned()
    }

    async fn finish(&self, body: Value) -> (u16, Value) {
        let mut request = self.server.request(Method::POST, "/api/auth/oidc/finish/");
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", cookie);
        }
        answer(request.json(&body)).await
    }

    async fn sign_in(&mut self) -> User<'a> {
        let page = self.round().await;
        let code = page
            .strip_prefix("oidc/")
            .unwrap_or_else(|| panic!("{page}"));
        let (status, login) = self.finish(json!({"code": code})).await;
        assert_eq!(status, 200, "{login}");
        assert_eq!(keys(&login), ["token", "user"]);
        self.server.signed_in(&login)
    }
}

fn start(provider: &Provider, more: &[&str]) -> Server {
    let arguments = provider.arguments();
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(more);
    Server::start(&all)
}

fn accounts(server: &Server) -> Vec<Value> {
    let listed = server.command(&["user", "list", "--json"], "");
    serde_json::from_slice(&listed.stdout).unwrap()
}

async fn login(server: &Server, name: &str) -> u16 {
    let body = json!({"username": name, "password": PASSWORD});
    answer(server.request(Method::POST, "/api/auth/login/").json(&body))
        .await
        .0
}

fn refused(answered: &(u16, Value)) -> (u16, &str) {
    (answered.0, answered.1["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn who_comes_by_the_provider_has_one_account_and_never_that_of_another() {
    let provider = Provider::start().await;
    let server = start(&provider, &["--accounts-oidc-name=Corp"]);
    let (_, config) = answer(server.request(Method::GET, "/api/config/")).await;
    assert_eq!(config["oidc"], json!({"name": "Corp"}));
    let ann = server.user("ann").await;
    // The same name and mail, by the provider's word: somebody else all the same.
    provider.sees(json!({
        "sub": "17", "preferred_username": "Ann", "name": "Ann B.", "email": "ann@example.org", "email_verified": true,
    }));
    let mut browser = Browser::new(&server);
    let page = browser.round().await;
    let code = page
        .strip_prefix("oidc/")
        .unwrap_or_else(|| panic!("{page}"));
    let elsewhere = Browser::new(&server).finish(json!({"code": code})).await;
    assert_eq!(
        refused(&elsewhere),
        (400, "oidc_state"),
        "in another browser"
    );
    let both = json!({"code": code, "device_name": "desk"});
    let (a, b) = tokio::join!(browser.finish(both.clone()), browser.finish(both));
    assert_eq!(a.0 + b.0, 200 + 400, "once: {} {}", a.1, b.1);
    let user = server.signed_in(if a.0 == 200 { &a.1 } else { &b.1 });
    let (_, me) = user.get("/api/auth/me/").await;
    assert_ne!(user.id, ann.id);
    assert_eq!(
        (&me["username"], &me["email"], &me["display_name"]),
        (&json!("Ann2"), &json!(""), &json!("Ann B."))
    );
    assert_eq!(
        (&me["has_oidc"], &me["has_password"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(me["is_admin"], false);
    let (_, devices) = user.get("/api/auth/devices/").await;
    assert_eq!(devices[0]["name"], "desk");

    // Whatever he is called by then.
    provider.sees(json!({"sub": "17", "preferred_username": "renamed"}));
    let again = Browser::new(&server).sign_in().await;
    assert_eq!(again.id, user.id);
    provider.signs_by_eddsa();
    assert_eq!(Browser::new(&server).sign_in().await.id, user.id);
    provider.sees(json!({"sub": "18", "preferred_username": "bob", "email": "bob@example.org"}));
    let other = Browser::new(&server).sign_in().await;
    let (_, me) = other.get("/api/auth/me/").await;
    assert_eq!(
        (&me["username"], &me["email"]),
        (&json!("bob"), &json!("")),
        "not verified"
    );
    assert_eq!(login(&server, "Ann2").await, 401, "there is no password");
    assert_eq!(provider.discovered(), 1, "it is remembered");
    let log = server.log();
    for secret in [SECRET, code, "code-0", "access-token"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn names_that_the_id_token_does_not_tell_are_asked_for() {
    let provider = Provider::start().await;
    let server = start(&provider, &[]);
    provider.is_terse();
    provider.sees(json!({
        "sub": "17", "preferred_username": "ann", "email": "Ann@example.org", "email_verified": true,
    }));
    let ann = Browser::new(&server).sign_in().await;
    let (_, me) = ann.get("/api/auth/me/").await;
    assert_eq!(
        (&me["username"], &me["email"]),
        (&json!("ann"), &json!("Ann@example.org"))
    );
}

#[tokio::test]
async fn one_comes_back_once_with_what_one_left_with_and_in_the_same_browser() {
    let provider = Provider::start().await;
    let server = start(&provider, &[]);
    provider.sees(json!({"sub": "17", "preferred_username": "ann"}));
    let began_elsewhere = "oidc-error/oidc_state";

    let mut browser = Browser::new(&server);
    let there = browser.start().await;
    let callback = browser.go(&there).await;
    let mut stranger = Browser::new(&server);
    assert_eq!(stranger.page(&callback).await, began_elsewhere);
    stranger.start().await;
    assert_eq!(stranger.page(&callback).await, began_elsewhere);
    let (before, _) = callback.split_once("state=").unwrap();
    for wrong in ["state=guess", "state=", ""] {
        assert_eq!(
            browser.page(&format!("{before}{wrong}")).await,
            began_elsewhere
        );
    }
    assert!(
        browser.page(&callback).await.starts_with("oidc/"),
        "those did no harm"
    );
    assert_eq!(browser.page(&callback).await, began_elsewhere, "once");
    let plain = format!("{}/api/auth/oidc/callback/", server.url);
    assert_eq!(browser.page(&plain).await, began_elsewhere);
    assert_eq!(
        browser
            .page(&format!("{plain}?state=a&state=b&code=%ff"))
            .await,
        began_elsewhere
    );

    for code in ["guess", ""] {
        assert_eq!(browser.finish(json!({"code": code})).await.0, 400);
    }
}

#[tokio::test]
async fn what_the_provider_does_not_prove_signs_nobody_in() {
    let provider = Provider::start().await;
    let server = start(&provider, &[]);
    provider.sees(json!({"sub": "17", "preferred_username": "ann"}));
    for (lie, why) in [
        (Lie::Nonce, "oidc_failed"),
        (Lie::NoNonce, "oidc_failed"),
        (Lie::Audience, "oidc_failed"),
        (Lie::Expired, "oidc_failed"),
        (Lie::Issuer, "oidc_failed"),
        (Lie::Key, "oidc_failed"),
        (Lie::Unsigned, "oidc_failed"),
        (Lie::Hmac, "oidc_failed"),
        (Lie::NoIdToken, "oidc_failed"),
        (Lie::RefusesCode, "oidc_failed"),
        (Lie::Long, "oidc_unavailable"),
        (Lie::Denied, "oidc_denied"),
    ] {
        provider.lies(lie);
        let page = Browser::new(&server).round().await;
        assert_eq!(page, format!("oidc-error/{why}"), "{lie:?}");
    }
    assert_eq!(accounts(&server).len(), 0);
    provider.lies(Lie::Nothing);
    Browser::new(&server).sign_in().await;
    for nobody in ["", &"x".repeat(256)] {
        provider.sees(json!({"sub": nobody}));
        assert_eq!(
            Browser::new(&server).round().await,
            "oidc-error/oidc_failed"
        );
    }
    assert_eq!(accounts(&server).len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_told_of() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    let server = Server::start(&[
        &format!("--accounts-oidc-issuer={issuer}"),
        "--accounts-oidc-client-id=x",
    ]);
    let page = Browser::new(&server).start().await;
    assert_eq!(
        page,
        format!("{}/#/oidc-error/oidc_unavailable", server.url)
    );
    let ann = server.user("ann").await;
    let link = ann
        .post("/api/auth/oidc/link/", json!({"password": PASSWORD}))
        .await;
    assert_eq!(refused(&link), (503, "oidc_unavailable"));
    let (_, config) = answer(server.request(Method::GET, "/api/config/")).await;
    assert_eq!(config["oidc"], json!({"name": "127.0.0.1"}));

    let without = Server::start(&[]);
    let (_, config) = answer(without.request(Method::GET, "/api/config/")).await;
    assert_eq!(config["oidc"], Value::Null);
    for path in ["start/", "callback/?state=a&code=b"] {
        let request = without.request(Method::GET, &format!("/api/auth/oidc/{path}"));
        assert_eq!(refused(&answer(request).await), (404, "not_found"));
    }
    assert_eq!(
        Browser::new(&without).finish(json!({"code": "x"})).await.0,
        404
    );
}

#[tokio::test]
async fn strangers_get_an_account_where_registration_says_so() {
    let provider = Provider::start().await;
    let as_setting = async |more: &[&str]| {
        let server = start(&provider, more);
        Browser::new(&server).round().await
    };
    provider.sees(json!({"sub": "17", "preferred_username": "ann"}));
    let code = "--accounts-registration=code";
    let page = as_setting(&[code]).await;
    assert!(page.starts_with("oidc/"), "{page}");
    for closed in [
        &["--accounts-registration=closed"][..],
        &[code, "--accounts-oidc-registers=false"],
    ] {
        assert_eq!(as_setting(closed).await, "oidc-error/registration_closed");
    }
}

#[tokio::test]
async fn the_blocked_stay_out_and_a_second_factor_is_asked_for() {
    let provider = Provider::start().await;
    let server = start(&provider, &[]);
    provider.sees(json!({"sub": "17", "preferred_username": "ann"}));
    let ann = Browser::new(&server).sign_in().await;
    // Having signed in just now stands for a password.
    let setup = ann.done("/api/auth/totp/", json!({})).await;
    let secret = totp_rs::Secret::try_from_base32(setup["secret"].as_str().unwrap()).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let body = json!({"code": totp.generate(now).to_string()});
    let confirmed = ann.done("/api/auth/totp/confirm/", body).await;

    let mut browser = Browser::new(&server);
    let page = browser.round().await;
    let code = page.strip_prefix("oidc/").unwrap();
    let missing = browser.finish(json!({"code": code})).await;
    assert_eq!(refused(&missing), (401, "second_factor_required"));
    let wrong = browser
        .finish(json!({"code": code, "totp_code": "aaaa-aaaa-aaaa-aaaa"}))
        .await;
    assert_eq!(refused(&wrong), (401, "wrong_code"));
    let right = json!({"code": code, "totp_code": confirmed["recovery_codes"][0]});
    assert_eq!(browser.finish(right.clone()).await.0, 200);
    assert_eq!(refused(&browser.finish(right).await), (400, "oidc_state"));

    let page = browser.round().await;
    let code = page.strip_prefix("oidc/").unwrap().to_owned();
    let output = server.command(&["user", "block", "ann"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let late = json!({"code": code, "totp_code": confirmed["recovery_codes"][1]});
    assert_eq!(
        refused(&browser.finish(late).await),
        (403, "account_blocked")
    );
    assert_eq!(browser.round().await, "oidc-error/account_blocked");
}

#[tokio::test]
async fn an_account_is_linked_by_its_user_and_unlinked() {
    let provider = Provider::start().await;
    let server = start(&provider, &[]);
    provider.sees(json!({"sub": "17", "preferred_username": "other"}));
    let other = Browser::new(&server).sign_in().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let wrong = ann
        .post(
            "/api/auth/oidc/link/",
            json!({"password": "wrong password"}),
        )
        .await;
    assert_eq!((wrong.0, keys(&wrong.1)), (400, vec!["code", "password"]));
    assert_eq!(
        answer(server.request(Method::POST, "/api/auth/oidc/link/"))
            .await
            .0,
        401
    );

    let link = async |user: &User<'_>| {
        let mut browser = Browser::new(&server);
        let request = user.request(Method::POST, "/api/auth/oidc/link/");
        let request = request.json(&json!({"password": PASSWORD}));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        browser.keep(&response);
        let body: Value = response.json().await.unwrap();
        let there = body["url"].as_str().unwrap().to_owned();
        // Whoever is sent there without having asked for it links nothing.
        let mut lured = Browser::new(&server);
        assert_eq!(lured.back_from(&there).await, "oidc-error/oidc_state");
        browser.back_from(&there).await
    };
    assert_eq!(
        link(&ann).await,
        "oidc-error/oidc_taken",
        "it is the other's"
    );
    provider.sees(json!({"sub": "18", "preferred_username": "ann-at-work"}));
    assert_eq!(link(&ann).await, "oidc-linked");
    assert_eq!(link(&ann).await, "oidc-linked");
    assert_eq!(link(&bob).await, "oidc-error/oidc_taken");
    assert_eq!(ann.get("/api/auth/me/").await.1["has_oidc"], true);
    assert_eq!(Browser::new(&server).sign_in().await.id, ann.id);
    assert_eq!(login(&server, "ann").await, 200, "and by password");
    provider.sees(json!({"sub": "19"}));
    assert_eq!(
        link(&ann).await,
        "oidc-error/oidc_taken",
        "one for each account"
    );

    let unlink = |user: &User<'_>| answer(user.request(Method::DELETE, "/api/auth/oidc/link/"));
    assert_eq!(refused(&unlink(&other).await), (400, "only_way_in"));
    assert_eq!(unlink(&bob).await.0, 404);
    assert_eq!(unlink(&ann).await.0, 204);
    assert_eq!(ann.get("/api/auth/me/").await.1["has_oidc"], false);
    provider.sees(json!({"sub": "18", "preferred_username": "ann"}));
    let new = Browser::new(&server).sign_in().await;
    assert_ne!(new.id, ann.id);
    // Who has no password goes by a sign-in of just now.
    let request = new.request(Method::DELETE, "/api/auth/me/");
    assert_eq!(answer(request.json(&json!({}))).await.0, 204);
}
