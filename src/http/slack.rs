//! What programs send to the webhooks of Slack and Mattermost, as Markdown.

use serde_json::Value;

/// The text, and below it what stands in attachments, which some programs send alone.
pub fn text(text: Option<&str>, attachments: Option<&Value>) -> String {
    let mut parts: Vec<String> = text.map(markdown).into_iter().collect();
    for attachment in attachments.and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| {
            let text = attachment[name].as_str();
            text.filter(|text| !text.trim().is_empty())
        };
        parts.extend(field("pretext").map(markdown));
        match (field("title"), field("title_link")) {
            (Some(title), Some(link)) => parts.push(format!("[{}]({link})", markdown(title))),
            (Some(title), None) => parts.push(format!("**{}**", markdown(title))),
            _ => {}
        }
        parts.extend(field("text").map(markdown));
        for row in attachment["fields"].as_array().into_iter().flatten() {
            if let (Some(title), Some(value)) = (row["title"].as_str(), row["value"].as_str()) {
                parts.push(format!("{}: {}", markdown(title), markdown(value)));
            }
        }
        if field("title")
            .or(field("text"))
            .or(field("pretext"))
            .is_none()
        {
            parts.extend(field("fallback").map(markdown));
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n")
}

/// Links are `<URL>` or `<URL|WORDS>` there, and `<`, `>` and `&` are escaped.
fn markdown(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        written.push_str(before);
        let link = after.split_once('>').filter(|(link, _)| {
            ["http://", "https://", "mailto:"]
                .iter()
                .any(|scheme| link.starts_with(scheme))
        });
        match link {
            Some((link, behind)) => {
                match link.split_once('|') {
                    Some((url, words)) => written.push_str(&format!("[{words}]({url})")),
                    None => written.push_str(link),
                }
                rest = behind;
            }
            None => {
                written.push('<');
                rest = after;
            }
        }
    }
    written.push_str(rest);
    written
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_and_escapes_are_read() {
        for (slack, expected) in [
            ("plain", "plain"),
            ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
            (
                "see <https://x.org/a?b|the log> and <http://y.org>",
                "see [the log](https://x.org/a?b) and http://y.org",
            ),
            ("<!channel> 1 < 2 <unclosed", "<!channel> 1 < 2 <unclosed"),
        ] {
            assert_eq!(text(Some(slack), None), expected);
        }
    }

    #[test]
    fn attachments_are_said_where_there_is_no_text() {
        let attachments = json!([
            {"title": "Disk full", "title_link": "https://x.org/1", "text": "on db1", "fallback": "no",
             "fields": [{"title": "host", "value": "db1"}, {"title": 1}]},
            {"fallback": "only this"},
            "nonsense",
        ]);
        assert_eq!(
            text(None, Some(&attachments)),
            "[Disk full](https://x.org/1)\non db1\nhost: db1\nonly this"
        );
        assert_eq!(text(Some("  "), Some(&json!({"a": 1}))), "");
    }
}
