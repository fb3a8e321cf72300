//! The words of the shared SQL that PostgreSQL has others for.

/// Ids as a JSON list, which are bound as an array.
const ONE_OF: &str = "IN (SELECT value FROM json_each(?))";

pub(super) fn translate(sql: &str) -> String {
    let sql = sql.replace(ONE_OF, "= ANY(?)");
    let mut translated = String::with_capacity(sql.len() + 16);
    let (mut in_text, mut last) = (false, 0);
    let mut rest = sql.chars().peekable();
    while let Some(c) = rest.next() {
        in_text ^= c == '\'';
        if c != '?' || in_text {
            translated.push(c);
            continue;
        }
        let mut number: Option<usize> = None;
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            rest.next();
            let digit = usize::try_from(digit).unwrap_or_default();
            number = Some(number.unwrap_or_default() * 10 + digit);
        }
        // As in SQLite: the one after the highest so far.
        let number = number.unwrap_or(last + 1);
        last = last.max(number);
        translated.push('$');
        translated.push_str(&number.to_string());
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_as_in_sqlite() {
        for (ours, theirs) in [
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            (
                "a = ?2 AND b = ?12 AND c = ?",
                "a = $2 AND b = $12 AND c = $13",
            ),
            (
                "a = 'why?' AND b = ?1 OR c = ''",
                "a = 'why?' AND b = $1 OR c = ''",
            ),
            (
                "u = ? AND id IN (SELECT value FROM json_each(?))",
                "u = $1 AND id = ANY($2)",
            ),
        ] {
            assert_eq!(translate(ours), theirs);
        }
    }
}
