//! Devices: the sign-ins of a user, as he sees them.

use moznods_storage::{SignIn, SignInId, UserId};

use crate::app::{App, Error, Problem, Result, limits, names};

impl App {
    /// All on which the user is signed in, the one used last first.
    pub async fn devices(&self, user: UserId) -> Result<Vec<SignIn>> {
        Ok(self.store.sign_ins(user).await?)
    }

    pub async fn rename_device(&self, user: UserId, id: SignInId, name: &str) -> Result<SignIn> {
        let name = checked("name", name)?;
        if name.is_empty() {
            return Err(Error::field("name", Problem::Required));
        }
        Ok(self.store.rename_sign_in(user, id, name).await?)
    }

    /// Ends the sign-in and the sockets it has opened.
    pub async fn end_device(&self, user: UserId, id: SignInId) -> Result<()> {
        let token = self.store.remove_sign_in(user, id).await?;
        self.hub.close_sign_in(token.0);
        self.count_push_subscriptions().await
    }
}

/// What a device is called: as its user says or, where he does not, after its `User-Agent`.
pub fn device_name(given: Option<&str>, agent: &str) -> Result<String> {
    let name = checked("device_name", given.unwrap_or_default())?;
    Ok(match name.is_empty() {
        true => of_agent(agent),
        false => name,
    })
}

fn checked(field: &'static str, name: &str) -> Result<String> {
    let name = name.trim();
    match names::check(name, limits::DEVICE_NAME) {
        Some(problem) => Err(Error::field(field, problem)),
        None => Ok(name.to_owned()),
    }
}

/// In the order in which they are looked for: most browsers also say that they are another one.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Such as "Firefox on Linux"; of a program that is no browser, the word by which it begins. Empty where that says nothing.
fn of_agent(agent: &str) -> String {
    let of = |table: &[(&str, &'static str)]| {
        let found = table.iter().find(|(mark, _)| agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    match (of(BROWSERS), of(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => {
            let word = agent.split(['/', ' ']).next().unwrap_or_default();
            let says = (1..=30).contains(&word.len())
                && word != "Mozilla"
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if says { word.to_owned() } else { String::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_after_its_browser_and_system() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.14.1", "curl"),
            ("okhttp", "okhttp"),
            ("Mozilla/5.0", ""),
            ("<script>", ""),
            ("", ""),
        ] {
            assert_eq!(of_agent(agent), name, "{agent}");
        }
        let long = "x".repeat(31);
        assert_eq!(of_agent(&long), "");
        assert_eq!(device_name(Some(" tablet "), "curl/8").unwrap(), "tablet");
        assert_eq!(device_name(Some(" "), "curl/8").unwrap(), "curl");
        assert!(device_name(Some(&"x".repeat(101)), "").is_err());
        assert!(device_name(Some("a\u{202e}b"), "").is_err());
    }
}
