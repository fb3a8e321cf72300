//! What a file is, judged by its content; what its name and its sender say must not contradict that.

use super::super::Refusal;
use crate::config::TypePattern;

const UNKNOWN: &str = "application/octet-stream";
const PDF: &str = "application/pdf";

/// What the sender says of a file.
#[derive(Debug, Default)]
pub struct Claim {
    pub name: String,
    pub content_type: Option<String>,
}

/// The type of a file that begins with `head`; `is_text` tells of all of it.
pub fn judge(
    head: &[u8],
    is_text: bool,
    claim: &Claim,
    allowed: &[TypePattern],
) -> Result<String, Refusal> {
    let declared = claim.content_type.as_deref().and_then(essence);
    let by_name = by_extension(&claim.name);
    let found = match infer::get(head).map(|found| found.mime_type()) {
        Some(PDF) => PDF.to_owned(),
        // A sentence may begin as some format does; no format but PDF consists of text alone.
        _ if is_text => [declared.as_deref(), by_name]
            .into_iter()
            .flatten()
            .find(|kind| top(kind) == "text")
            .unwrap_or("text/plain")
            .to_owned(),
        Some(found) => found.to_owned(),
        None => UNKNOWN.to_owned(),
    };
    let claims = [declared.as_deref(), by_name];
    if !claims
        .into_iter()
        .flatten()
        .all(|claimed| agree(claimed, &found))
    {
        return Err(Refusal::FileContradiction);
    }
    if !allowed.iter().any(|pattern| pattern.matches(&found)) {
        return Err(Refusal::FileType);
    }
    Ok(found)
}

/// A type in lower case without parameters, if it is one.
fn essence(text: &str) -> Option<String> {
    let kind = text.split(';').next()?.trim().to_ascii_lowercase();
    let (top, sub) = kind.split_once('/')?;
    let token = |part: &str| {
        (1..=127).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    (token(top) && token(sub)).then_some(kind)
}

fn by_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    // TypeScript far more often than MPEG.
    if ["ts", "mts"].contains(&extension.to_ascii_lowercase().as_str()) {
        return None;
    }
    mime_guess::from_ext(extension).first_raw()
}

fn top(kind: &str) -> &str {
    kind.split('/').next().unwrap_or(kind)
}

/// Whether a file that is `found` may be called `claimed`. What matters is how clients would treat it.
fn agree(claimed: &str, found: &str) -> bool {
    match (top(claimed), top(found)) {
        ("application", _) => (claimed == PDF) == (found == PDF) || claimed == UNKNOWN,
        ("audio" | "video", found) => ["audio", "video"].contains(&found),
        (claimed, found) => claimed == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\0\x10JFIF";
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\x08\0";
    const SVG: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>";
    const HTML: &[u8] = b"<!DOCTYPE html><script>1</script>";

    fn judged(
        head: &[u8],
        name: &str,
        declared: &str,
        allowed: &[&str],
    ) -> Result<String, Refusal> {
        let claim = Claim {
            name: name.to_owned(),
            content_type: Some(declared.to_owned()),
        };
        let allowed: Vec<TypePattern> = allowed
            .iter()
            .map(|text| TypePattern::parse(text).unwrap())
            .collect();
        let is_text = std::str::from_utf8(head).is_ok() && !head.contains(&0);
        judge(head, is_text, &claim, &allowed)
    }

    #[test]
    fn the_content_says_what_a_file_is() {
        let default = ["image/*", "application/pdf", "text/*"];
        for (head, name, declared, is) in [
            (PNG, "a.png", "image/png", "image/png"),
            (PNG, "a.png", "application/octet-stream", "image/png"),
            (PNG, "a", "no type", "image/png"),
            // Phones name them so.
            (JPEG, "a.png", "image/png", "image/jpeg"),
            (b"%PDF-1.7", "a.pdf", "application/pdf", "application/pdf"),
            (b"BMW is a car", "a.txt", "text/plain", "text/plain"),
            (
                b"BMW is a car",
                "a.md",
                "application/octet-stream",
                "text/markdown",
            ),
            (
                b"let x = 1;",
                "a.ts",
                "text/plain; charset=utf-8",
                "text/plain",
            ),
            (b"{}", "a.json", "application/json", "text/plain"),
            (HTML, "a.html", "text/html", "text/html"),
            (SVG, "drawing.txt", "text/plain", "text/plain"),
        ] {
            assert_eq!(
                judged(head, name, declared, &default).as_deref(),
                Ok(is),
                "{name} {declared}"
            );
        }
    }

    #[test]
    fn what_contradicts_the_content_is_refused() {
        let all = ["*/*"];
        for (head, name, declared) in [
            (HTML, "a.png", "image/png"),
            (HTML, "a", "image/gif"),
            (HTML, "a.png", "application/octet-stream"),
            (SVG, "a.svg", "image/svg+xml"),
            (SVG, "a.png", "text/plain"),
            (PNG, "a.html", "image/png"),
            (PNG, "a.png", "text/html"),
            (b"GIF89a/*<script>*/=1", "a.gif", "image/gif"),
            (b"text", "a.pdf", "application/pdf"),
            (b"%PDF-1.7", "a.txt", "text/plain"),
            (b"\0\x01\x02\x03", "a.png", "image/png"),
            (PNG, "a.mp4", "video/mp4"),
        ] {
            assert_eq!(
                judged(head, name, declared, &all),
                Err(Refusal::FileContradiction),
                "{name} {declared}"
            );
        }
    }

    #[test]
    fn only_types_of_the_setting_are_taken() {
        let zip = |allowed: &[&str]| judged(ZIP, "a.zip", "application/zip", allowed);
        assert_eq!(zip(&["image/*"]), Err(Refusal::FileType));
        assert_eq!(zip(&["application/zip"]).as_deref(), Ok("application/zip"));
        let unknown = |allowed: &[&str]| judged(b"\0\x01", "a.bin", "", allowed);
        assert_eq!(unknown(&["image/*", "text/*"]), Err(Refusal::FileType));
        assert_eq!(unknown(&["*/*"]).as_deref(), Ok(UNKNOWN));
    }
}
