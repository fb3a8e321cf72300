//! Makes `turn/CONFORMANCE.md` from the names and comments of the tests, and holds the file to them. To write it anew:
//! `make conformance`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::left_out::LEFT_OUT;

const HEAD: &str = "# Conformance

What the RFCs state with MUST, MUST NOT or SHALL for a server, and the checks that they list for it: each sentence with
the test that holds the relay to it. Made from the tests' names and comments by `make conformance`; a test fails when
this file is older than they are. Sentences about clients, about documents and about other servers are not here.

";

/// A section of an RFC, in the order of its numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Section {
    rfc: u32,
    /// Numbers, and letters of appendices as numbers behind them.
    parts: Vec<u32>,
}

#[derive(Debug)]
struct Row {
    section: Section,
    what: String,
    test: String,
}

impl Section {
    /// From `rfc8656_s7_2_words`, with the words left over.
    fn of(name: &str) -> Option<(Section, &str)> {
        let (rfc, mut rest) = name.strip_prefix("rfc")?.split_once("_s")?;
        let mut parts = Vec::new();
        loop {
            let (part, after) = rest.split_once('_').unwrap_or((rest, ""));
            let Some(part) = number(part) else { break };
            parts.push(part);
            rest = after;
        }
        let rfc = rfc.parse().ok()?;
        (!parts.is_empty() && !rest.is_empty()).then_some((Section { rfc, parts }, rest))
    }

    fn title(&self) -> String {
        let part = |part: &u32| match char::from_u32(*part) {
            Some(letter) if letter.is_ascii_uppercase() && *part >= APPENDIX => letter.to_string(),
            _ => part.to_string(),
        };
        let parts: Vec<_> = self.parts.iter().map(part).collect();
        format!("§{}", parts.join("."))
    }
}

/// No RFC of ours has as many sections as the first letter's code.
const APPENDIX: u32 = 'A' as u32;

fn number(part: &str) -> Option<u32> {
    match part.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some((*letter).into()),
        _ => part.parse().ok(),
    }
}

/// All tests of the crate that are named by a section.
fn rows() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rows = Vec::new();
    for folder in ["src", "tests"] {
        for file in sources(&root.join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(root).unwrap().display().to_string();
            read(&text, &place, &mut rows);
        }
    }
    rows.sort_by(|a, b| a.section.cmp(&b.section));
    rows
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(text: &str, place: &str, rows: &mut Vec<Row>) {
    let (mut what, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            what.push(words.trim());
            continue;
        }
        if line.starts_with("#[") {
            is_test |= line == "#[test]";
            continue;
        }
        let name = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next());
        if let Some(name) = name.filter(|_| is_test)
            && let Some((section, _)) = Section::of(name)
        {
            assert!(
                !what.is_empty(),
                "{place}: {name} does not say what is demanded"
            );
            let test = format!("[`{name}`]({place})");
            rows.push(Row {
                section,
                what: what.join(" "),
                test,
            });
        } else if is_test {
            let name = name.unwrap_or_default();
            let ours = place.starts_with("tests/conformance/") && !place.ends_with("table.rs");
            assert!(!ours, "{place}: {name} names no section");
        }
        (what, is_test) = (Vec::new(), false);
    }
}

fn table() -> String {
    let mut out = HEAD.to_owned();
    let mut rfc = 0;
    let rows = rows();
    for row in &rows {
        if row.section.rfc != rfc {
            rfc = row.section.rfc;
            let gap = if out.ends_with("\n\n") { "" } else { "\n" };
            write!(
                out,
                "{gap}## RFC {rfc}\n\n| section | what | test |\n|---|---|---|\n"
            )
            .unwrap();
        }
        let (title, what, test) = (row.section.title(), row.what.as_str(), row.test.as_str());
        writeln!(out, "| {title} | {what} | {test} |").unwrap();
    }
    out += "\n## Left out\n\n| section | what | why |\n|---|---|---|\n";
    for (rfc, section, what, why) in LEFT_OUT {
        writeln!(out, "| RFC {rfc} §{section} | {what} | {why} |").unwrap();
    }
    out
}

#[test]
fn the_table_is_what_the_tests_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md");
    let made = table();
    if std::env::var_os("CONFORMANCE_WRITE").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = there
        .lines()
        .zip(made.lines())
        .find(|(old, new)| old != new);
    assert!(
        there == made,
        "CONFORMANCE.md is not of these tests; run: make conformance\n{differs:#?}"
    );
}

#[test]
fn sections_are_read_from_names_and_come_in_their_order() {
    let section = |name| Section::of(name).map(|(section, words)| (section.title(), words));
    let found = section("rfc8656_s7_2_same_answer");
    assert_eq!(found, Some(("§7.2".to_owned(), "same_answer")));
    let found = section("rfc8489_sB_1_the_vector");
    assert_eq!(found, Some(("§B.1".to_owned(), "the_vector")));
    assert_eq!(section("rfc8656_permissions"), None);
    assert_eq!(section("a_test_of_ours"), None);
    let order = [
        "rfc1_s2_x",
        "rfc1_s2_1_x",
        "rfc1_s10_x",
        "rfc1_sA_x",
        "rfc2_s1_x",
    ];
    assert!(order.map(|name| Section::of(name).unwrap().0).is_sorted());
}
