//! What was found: figures by case, held against the goals, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use moznods_bench::stats::median;
use serde::Serialize;

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub rounds: usize,
    pub seconds: f64,
    pub cases: Vec<CaseResult>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
}

impl Machine {
    pub fn this() -> Self {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl Results {
    /// As Markdown; the plot lies beside it, in a file of this name.
    pub fn markdown(&self, plot: &str) -> String {
        let mut out = String::new();
        let Machine {
            processor,
            cores,
            kernel,
        } = &self.machine;
        let _ = write!(
            out,
            "# What `make bench` has found\n\n\
             {processor}, {cores} cores, Linux {kernel}; loopback, the server on core 0 and the load on core 1. Medians of \
             {} rounds of {} s, in which all subjects take turns. `busy` is the server's share of its core, `loss` that of the \
             packets that did not arrive.\n\n![Ratios]({plot})\n\n## Goals\n\n\
             | case | what | found | goal | |\n|---|---|---:|---:|---|\n",
            self.rounds, self.seconds
        );
        for case in &self.cases {
            for goal in &case.goals {
                let met = if goal.met { "met" } else { "**missed**" };
                let _ = writeln!(
                    out,
                    "| {} | {} | {:.3} | {} | {met} |",
                    case.name, goal.what, goal.measured, goal.bound
                );
            }
        }
        for case in &self.cases {
            let _ = write!(
                out,
                "\n## {}\n\n{}, in {}.\n\n| | median | ours through this | lowest and highest | |\n|---|---:|---:|---|---|\n",
                case.name, case.title, case.unit
            );
            let ours = case.subjects.first().map_or(0.0, |subject| subject.median);
            for subject in &case.subjects {
                let lowest = subject.rounds.iter().copied().fold(f64::INFINITY, f64::min);
                let highest = subject.rounds.iter().copied().fold(0.0, f64::max);
                let details = subject.details.iter();
                let details: Vec<String> = details
                    .map(|(name, value)| format!("{name} {value:.3}"))
                    .collect();
                let _ = writeln!(
                    out,
                    "| {} | {} | {:.3} | {} – {} | {} |",
                    subject.name,
                    figure(subject.median),
                    ours / subject.median,
                    figure(lowest),
                    figure(highest),
                    details.join(", ")
                );
            }
        }
        out
    }

    /// Writes `results.json`, `RESULTS.md` and `results.svg` into this directory.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(directory.join("results.json"), json + "\n")?;
        std::fs::write(directory.join("RESULTS.md"), self.markdown("results.svg"))?;
        std::fs::write(
            directory.join("results.svg"),
            crate::plot::bars(&self.cases),
        )
    }
}

/// One case.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    pub name: String,
    pub title: String,
    /// Of the figures.
    pub unit: &'static str,
    pub subjects: Vec<Subject>,
    pub goals: Vec<Goal>,
}

/// One server, or what else was measured.
#[derive(Debug, Serialize)]
pub struct Subject {
    pub name: String,
    pub median: f64,
    pub rounds: Vec<f64>,
    /// Medians of what else was seen.
    pub details: BTreeMap<&'static str, f64>,
}

/// What is wanted of a case, and whether it came about.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// What is held against what.
    pub what: String,
    pub measured: f64,
    pub bound: Bound,
    pub met: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::AtLeast(bound) => write!(f, "≥ {bound}"),
            Bound::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// The rounds of one subject as they come in: its figure, and what else was seen.
#[derive(Debug)]
pub struct Rounds {
    pub name: String,
    figures: Vec<f64>,
    details: BTreeMap<&'static str, Vec<f64>>,
}

impl Rounds {
    pub fn of(name: impl Into<String>) -> Self {
        Rounds {
            name: name.into(),
            figures: Vec::new(),
            details: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, figure: f64, details: &[(&'static str, f64)]) {
        self.figures.push(figure);
        for (name, value) in details {
            self.details.entry(name).or_default().push(*value);
        }
    }

    pub fn subject(self) -> Subject {
        Subject {
            name: self.name,
            median: median(&self.figures),
            rounds: self.figures,
            details: self
                .details
                .into_iter()
                .map(|(name, values)| (name, median(&values)))
                .collect(),
        }
    }
}

impl CaseResult {
    /// The first subject through the one of this name is to keep to `bound`. Without one there is no goal.
    pub fn hold_against(&mut self, against: &str, bound: Bound) {
        let find = |name: &str| self.subjects.iter().find(|subject| subject.name == name);
        let (Some(ours), Some(theirs)) = (self.subjects.first(), find(against)) else {
            return;
        };
        let measured = ours.median / theirs.median;
        self.hold(format!("through {against}"), measured, bound);
    }

    pub fn hold(&mut self, what: impl Into<String>, measured: f64, bound: Bound) {
        self.goals.push(Goal {
            what: what.into(),
            measured,
            bound,
            met: bound.holds(measured),
        });
    }

    /// The figure of a subject; NaN where there is none.
    pub fn median(&self, subject: &str) -> f64 {
        let found = self.subjects.iter().find(|found| found.name == subject);
        found.map_or(f64::NAN, |subject| subject.median)
    }

    /// A detail of a subject; NaN, which meets no goal, where there is none.
    pub fn detail(&self, subject: &str, name: &str) -> f64 {
        let found = self.subjects.iter().find(|found| found.name == subject);
        let detail = found.and_then(|subject| subject.details.get(name));
        detail.copied().unwrap_or(f64::NAN)
    }

    /// As a table for the terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\n{}: {}, in {}", self.name, self.title, self.unit);
        let ours = self.subjects.first().map_or(0.0, |subject| subject.median);
        for subject in &self.subjects {
            let ratio = ours / subject.median;
            let _ = write!(
                out,
                "  {:<28} {:>12}  ours/this {ratio:>6.3} ",
                subject.name,
                figure(subject.median)
            );
            for (name, value) in &subject.details {
                let _ = write!(out, "  {name} {value:.4}");
            }
            out.push('\n');
        }
        for goal in &self.goals {
            let met = if goal.met { "met" } else { "MISSED" };
            let _ = writeln!(
                out,
                "  goal: {} {:.3} ({}) {met}",
                goal.what, goal.measured, goal.bound
            );
        }
        out
    }
}

/// A figure with three digits that count, and thousands apart.
fn figure(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut ours = Rounds::of("moznods");
        for figure in [1_234_567.0, 1_300_000.0, 900_000.0] {
            ours.add(figure, &[("loss", figure / 1e9)]);
        }
        let mut theirs = Rounds::of("coturn");
        theirs.add(500_000.0, &[]);
        let mut case = CaseResult {
            name: "relayed-160".to_owned(),
            title: "both".to_owned(),
            unit: "packets per CPU-second",
            subjects: vec![ours.subject(), theirs.subject()],
            goals: Vec::new(),
        };
        case.hold_against("coturn", Bound::AtLeast(2.5));
        case.hold_against("nobody", Bound::AtLeast(1.0));
        case.hold("µs:", 3.0, Bound::AtMost(5.0));
        Results {
            machine: Machine::this(),
            rounds: 3,
            seconds: 1.0,
            cases: vec![case],
        }
    }

    #[test]
    fn the_medians_are_held_against_the_goals() {
        let case = &results().cases[0];
        let goals: Vec<(f64, bool)> = case.goals.iter().map(|g| (g.measured, g.met)).collect();
        assert_eq!(goals, [(1_234_567.0 / 500_000.0, false), (3.0, true)]);
        assert_eq!(case.detail("moznods", "loss"), 1_234_567.0 / 1e9);
        assert!(case.detail("coturn", "loss").is_nan());
    }

    #[test]
    fn table_markdown_and_json_say_the_same() {
        let results = results();
        let table = results.cases[0].table();
        assert!(table.contains("1 234 567"), "{table}");
        assert!(
            table.contains("through coturn 2.469 (≥ 2.5) MISSED"),
            "{table}"
        );
        let markdown = results.markdown("results.svg");
        let row = "| relayed-160 | through coturn | 2.469 | ≥ 2.5 | **missed** |";
        assert!(markdown.contains(row), "{markdown}");
        let row = "| moznods | 1 234 567 | 1.000 | 900 000 – 1 300 000 | loss 0.001 |";
        assert!(markdown.contains(row), "{markdown}");
        let directory = tempfile::tempdir().unwrap();
        results.write(directory.path()).unwrap();
        let json = std::fs::read(directory.path().join("results.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let case = &json["cases"][0];
        assert_eq!(case["subjects"][0]["median"], 1_234_567.0);
        assert_eq!(case["goals"][0]["bound"]["at_least"], 2.5);
        let plot = std::fs::read_to_string(directory.path().join("results.svg")).unwrap();
        assert!(plot.contains("relayed-160 through coturn"), "{plot}");
    }

    #[test]
    fn figures_have_thousands_apart() {
        assert_eq!(figure(2.713), "2.71");
        assert_eq!(figure(999.6), "1 000");
        assert_eq!(figure(61_234_567.0), "61 234 567");
    }
}
