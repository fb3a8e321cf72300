//! Names of files, as somebody else's program may use them.

/// Bytes of a name.
const MAX: usize = 255;
/// Bytes of an extension that outlives a cut.
const MAX_EXTENSION: usize = 16;
const NAMELESS: &str = "file";

/// The last part of a path, without what no name has: control characters, and those that are not seen or turn the
/// direction of reading, so that `exe.png` may look like `gnp.exe`.
pub fn cleaned(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let kept: String = last.chars().filter(|c| !is_unfit(*c)).collect();
    // Neither hidden nor a directory; Windows drops dots and spaces at the end.
    let kept = kept.trim_matches(|c: char| c.is_whitespace() || c == '.');
    let cut = shortened(kept);
    if cut.is_empty() {
        NAMELESS.to_owned()
    } else {
        cut
    }
}

fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
            | ':' | '"' | '<' | '>' | '|' | '?' | '*')
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX {
        return name.to_owned();
    }
    let extension = name
        .rfind('.')
        .and_then(|dot| name.get(dot..))
        .filter(|extension| extension.len() <= MAX_EXTENSION)
        .unwrap_or("");
    let mut end = MAX - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let stem = name.get(..end).unwrap_or("").trim_end_matches([' ', '.']);
    format!("{stem}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_hides_nothing() {
        for (given, clean) in [
            ("cat.png", "cat.png"),
            ("Отчёт за май.pdf", "Отчёт за май.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ann\\cat.png", "cat.png"),
            ("..", "file"),
            ("a/", "file"),
            ("", "file"),
            (".htaccess", "htaccess"),
            ("a\r\nSet-Cookie: x", "aSet-Cookie x"),
            ("cat\u{202E}gnp.exe", "catgnp.exe"),
            ("a\0b", "ab"),
            ("a.txt . ", "a.txt"),
        ] {
            assert_eq!(cleaned(given), clean, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = cleaned(&format!("{}.jpeg", "ы".repeat(300)));
        assert!(long.len() <= MAX && long.ends_with("ы.jpeg"), "{long}");
        assert_eq!(cleaned(&"x".repeat(300)).len(), MAX);
        assert_eq!(cleaned(&format!("a.{}", "x".repeat(300))).len(), MAX);
    }
}
