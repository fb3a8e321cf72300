//! REST: the second factor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::support::{PASSWORD, Server, User, answer, keys, text};

struct Authenticator(Totp);

impl Authenticator {
    /// Reads what an authenticator's camera would.
    fn of(setup: &Value) -> Self {
        assert_eq!(keys(setup), ["secret", "uri"]);
        let secret = setup["secret"].as_str().unwrap();
        let uri = setup["uri"].as_str().unwrap();
        assert!(uri.starts_with("otpauth://totp/127.0.0.1:ann?"), "{uri}");
        assert!(uri.contains(&format!("secret={secret}")), "{uri}");
        let secret = Secret::try_from_base32(secret).unwrap();
        Authenticator(Builder::new().with_secret(secret).build().unwrap())
    }

    /// Waits until codes stay what they are for a while.
    async fn steady() {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        while now().as_secs() % 30 > 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The code of so many steps from now.
    fn code(&self, steps: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let time = now.as_secs().checked_add_signed(steps * 30).unwrap();
        self.0.generate(time).to_string()
    }

    /// Six digits that are not the code of any step near now.
    fn wrong(&self) -> String {
        let near: Vec<_> = (-3..=3).map(|steps| self.code(steps)).collect();
        let mut codes = (0..).map(|n| format!("{n:06}"));
        codes.find(|code| !near.contains(code)).unwrap()
    }
}

async fn login(server: &Server, password: &str, code: Option<&str>) -> (u16, Value) {
    let mut body = json!({"username": "ann", "password": password});
    if let Some(code) = code {
        body["code"] = code.into();
    }
    answer(server.request(Method::POST, "/api/auth/login/").json(&body)).await
}

fn refused(answered: &(u16, Value)) -> (u16, &str) {
    (answered.0, answered.1["code"].as_str().unwrap_or_default())
}

/// Switches the second factor on, by the code of the step before now.
async fn set_up(ann: &User<'_>) -> (Authenticator, Vec<String>) {
    Authenticator::steady().await;
    let setup = ann
        .done("/api/auth/totp/", json!({"password": PASSWORD}))
        .await;
    let authenticator = Authenticator::of(&setup);
    let body = json!({"code": authenticator.code(-1)});
    let confirmed = ann.done("/api/auth/totp/confirm/", body).await;
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
    (authenticator, codes.collect())
}

async fn has_totp(user: &User<'_>) -> bool {
    user.get("/api/auth/me/").await.1["has_totp"] == true
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_is_confirmed() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    for (path, body) in [
        ("/api/auth/totp/", json!({})),
        ("/api/auth/totp/", json!({"password": "wrong password"})),
    ] {
        let (status, answered) = ann.post(path, body).await;
        assert_eq!((status, keys(&answered)), (400, vec!["code", "password"]));
    }
    let early = ann
        .post("/api/auth/totp/confirm/", json!({"code": "123456"}))
        .await;
    assert_eq!(refused(&early), (400, "second_factor_off"));
    let first = ann
        .done("/api/auth/totp/", json!({"password": PASSWORD}))
        .await;
    let first = Authenticator::of(&first);
    let setup = ann
        .done("/api/auth/totp/", json!({"password": PASSWORD}))
        .await;
    let authenticator = Authenticator::of(&setup);
    assert!(!has_totp(&ann).await);
    assert_eq!(login(&server, PASSWORD, None).await.0, 200);
    for code in [authenticator.wrong(), first.code(0), String::new()] {
        let body = json!({"code": code});
        let (status, answered) = ann.post("/api/auth/totp/confirm/", body).await;
        assert_eq!((status, keys(&answered)), (400, vec!["code"]), "{code}");
    }
    Authenticator::steady().await;
    let body = json!({"code": authenticator.code(-1)});
    let confirmed = ann.done("/api/auth/totp/confirm/", body).await;
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    assert_eq!(codes.len(), 10);
    assert!(has_totp(&ann).await);
    assert_eq!(ann.get("/api/auth/me/").await.1["recovery_codes"], 10);
    let again = ann
        .post("/api/auth/totp/", json!({"password": PASSWORD}))
        .await;
    assert_eq!(refused(&again), (400, "second_factor_on"));

    let missing = login(&server, PASSWORD, None).await;
    assert_eq!(refused(&missing), (401, "second_factor_required"));
    let missing = login(&server, PASSWORD, Some("")).await;
    assert_eq!(refused(&missing), (401, "second_factor_required"));
    // Without the password nothing tells whether there is one.
    let guess = login(&server, "wrong password", Some(&authenticator.code(0))).await;
    assert_eq!(refused(&guess), (401, "invalid_credentials"));
    let wrong = login(&server, PASSWORD, Some(&authenticator.wrong())).await;
    assert_eq!(refused(&wrong), (401, "wrong_code"));
    let log = server.log();
    assert!(!log.contains(setup["secret"].as_str().unwrap()));
}

#[tokio::test]
async fn each_code_is_taken_once_and_recovery_codes_too() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let (authenticator, codes) = set_up(&ann).await;
    // That of the confirmation and those before it are gone; those to come are good once, and end those before them.
    let used = authenticator.code(-1);
    assert_eq!(
        refused(&login(&server, PASSWORD, Some(&used)).await),
        (401, "wrong_code")
    );
    let now = authenticator.code(0);
    let (a, b) = tokio::join!(
        login(&server, PASSWORD, Some(&now)),
        login(&server, PASSWORD, Some(&now))
    );
    assert_eq!(a.0 + b.0, 200 + 401, "one of the two");
    let ahead = authenticator.code(1);
    let spaced = format!("{} {}", &ahead[..3], &ahead[3..]);
    assert_eq!(login(&server, PASSWORD, Some(&spaced)).await.0, 200);
    assert_eq!(login(&server, PASSWORD, Some(&ahead)).await.0, 401);
    let far = authenticator.code(4);
    assert_eq!(login(&server, PASSWORD, Some(&far)).await.0, 401);

    let shouted = codes[0].to_uppercase();
    assert_eq!(login(&server, PASSWORD, Some(&shouted)).await.0, 200);
    let again = login(&server, PASSWORD, Some(&codes[0])).await;
    assert_eq!(refused(&again), (401, "wrong_code"));
    assert_eq!(ann.get("/api/auth/me/").await.1["recovery_codes"], 9);

    let end = |password: &str, code: &str| {
        let request = ann.request(Method::DELETE, "/api/auth/totp/");
        answer(request.json(&json!({"password": password, "code": code})))
    };
    for (password, code) in [
        ("wrong password", &*codes[1]),
        (PASSWORD, &codes[0]),
        (PASSWORD, ""),
    ] {
        assert_eq!(end(password, code).await.0, 400);
    }
    assert!(has_totp(&ann).await);
    assert_eq!(end(PASSWORD, &codes[1]).await.0, 204);
    assert!(!has_totp(&ann).await);
    assert_eq!(login(&server, PASSWORD, None).await.0, 200);
    let (status, answered) = end(PASSWORD, &codes[2]).await;
    assert_eq!(refused(&(status, answered)), (400, "second_factor_off"));
}

#[tokio::test]
async fn the_administrator_switches_it_off_and_a_link_does_not_pass_it() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let (authenticator, codes) = set_up(&ann).await;
    let output = server.command(&["user", "reset-link", "ann"], "");
    let token = text(&output.stdout)
        .trim()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let reset = |code: Option<&str>| {
        let mut body = json!({"token": token, "password": "another password"});
        if let Some(code) = code {
            body["code"] = code.into();
        }
        answer(server.request(Method::POST, "/api/auth/reset/").json(&body))
    };
    assert_eq!(refused(&reset(None).await), (401, "second_factor_required"));
    let wrong = authenticator.wrong();
    assert_eq!(refused(&reset(Some(&wrong)).await), (401, "wrong_code"));
    assert!(has_totp(&ann).await, "still signed in");
    let (status, login_json) = reset(Some(&codes[0])).await;
    assert_eq!(status, 200, "{login_json}");
    let ann = server.signed_in(&login_json);
    assert!(has_totp(&ann).await);

    let output = server.command(&["user", "totp-off", "ann"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!has_totp(&ann).await);
    assert_eq!(login(&server, "another password", None).await.0, 200);
    let output = server.command(&["user", "totp-off", "ann"], "");
    assert!(!output.status.success());
}

#[tokio::test]
async fn guesses_of_codes_are_limited_by_account_wherever_they_come_from() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--http-trusted-proxies=127.0.0.0/8",
    ]);
    let ann = server.user("ann").await;
    let (authenticator, codes) = set_up(&ann).await;
    let wrong = authenticator.wrong();
    let attempt = async |n: usize, code: Option<&str>| {
        let body = json!({"username": "ann", "password": PASSWORD, "code": code});
        let request = server.request(Method::POST, "/api/auth/login/");
        let request = request.header("X-Forwarded-For", format!("198.51.100.{n}"));
        answer(request.json(&body)).await
    };
    let mut statuses = Vec::new();
    for n in 0..13 {
        statuses.push(attempt(n, Some(&wrong)).await.0);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[11..], [429; 2]);
    assert_eq!(
        attempt(20, Some(&codes[0])).await.0,
        429,
        "the right one, too"
    );
    let without = attempt(21, None).await;
    assert_eq!(refused(&without), (401, "second_factor_required"));
    assert_eq!(ann.get("/api/auth/me/").await.0, 200);
}
