//! Whether bytes that come in pieces are text.

/// UTF-8 without control characters but those that text files have.
#[derive(Debug)]
pub struct TextCheck {
    /// The beginning of a character whose rest is in the next piece.
    pending: Vec<u8>,
    holds: bool,
}

impl Default for TextCheck {
    fn default() -> Self {
        TextCheck {
            pending: Vec::new(),
            holds: true,
        }
    }
}

impl TextCheck {
    pub fn take(&mut self, piece: &[u8]) {
        if !self.holds {
            return;
        }
        let joined;
        let bytes = if self.pending.is_empty() {
            piece
        } else {
            joined = [&std::mem::take(&mut self.pending), piece].concat();
            &joined
        };
        // Tab, line feed, form feed, carriage return, and the escape of terminals.
        let control = |byte: &u8| *byte < b' ' && !matches!(byte, 9 | 10 | 12 | 13 | 27);
        let rest = match std::str::from_utf8(bytes) {
            Ok(_) => &[],
            Err(error) if error.error_len().is_none() => {
                bytes.get(error.valid_up_to()..).unwrap_or_default()
            }
            Err(_) => return self.holds = false,
        };
        self.holds = !bytes.iter().any(control);
        self.pending = rest.to_vec();
    }

    /// Of all that was taken.
    pub fn is_text(&self) -> bool {
        self.holds && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(pieces: &[&[u8]]) -> bool {
        let mut check = TextCheck::default();
        pieces.iter().for_each(|piece| check.take(piece));
        check.is_text()
    }

    #[test]
    fn text_is_utf8_wherever_it_is_cut() {
        let text = "Привет, \u{1F600}\r\n\tмир".as_bytes();
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            assert!(is_text(&[first, second]), "{cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert!(is_text(&single));
        for binary in [
            &b"\x89PNG\r\n\x1a\n"[..],
            b"a\0b",
            b"\xC0\x80",
            "cut \u{1F600}".as_bytes().split_last().unwrap().1,
        ] {
            assert!(!is_text(&[binary]), "{binary:?}");
        }
        assert!(!is_text(&[b"\xD0", b"x"]), "no such character");
        assert!(!is_text(&[b"\xFF", b"text"]), "what was wrong stays so");
    }
}
