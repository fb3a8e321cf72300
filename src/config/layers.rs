//! Where settings are written: flags, environment, file, defaults. What they may be is left to `check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::keys::KEYS;
use super::{ConfigError, proxy};

/// File that is read when neither `--config` nor `MOZNODS_CONFIG` names one; it may be missing.
const DEFAULT_FILE: &str = "moznods.toml";
/// File that is read when there is none of those: a package's.
const SYSTEM_FILE: &str = "/etc/moznods/moznods.toml";
const FILE_VARIABLE: &str = "MOZNODS_CONFIG";
/// How the origin begins of what follows from another setting.
const DERIVED: &str = "default, since ";

/// The flags of all settings; flatten it into a clap command.
#[derive(Clone, Default)]
pub struct Flags {
    pub(super) file: Option<PathBuf>,
    pub(super) values: BTreeMap<&'static str, String>,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!(
                "Settings file [default: {DEFAULT_FILE}, or else {SYSTEM_FILE}, if there]"
            ))
            .help_heading("Settings")
            .global(true);
        KEYS.iter().fold(command.arg(file), |command, key| {
            let default = if key.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", key.default)
            };
            let flag = Arg::new(key.path)
                .long(key.path.replace(['.', '_'], "-"))
                .value_name("VALUE")
                .help(format!("{}{default}", key.help))
                .help_heading("Settings")
                .hide_short_help(true)
                .global(true);
            command.arg(match key.path {
                // The word alone means what most want.
                "behind_proxy" => flag
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
                _ => flag,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        for key in KEYS {
            if let Some(value) = matches.get_one::<String>(key.path) {
                self.values.insert(key.path, value.clone());
            }
        }
        Ok(())
    }
}

impl Flags {
    /// The same, with another settings file.
    pub fn with_file(&self, file: &Path) -> Self {
        Flags {
            file: Some(file.to_owned()),
            values: self.values.clone(),
        }
    }
}

/// A value as it was written, and by whom.
#[derive(Clone)]
struct Raw {
    text: String,
    /// How the admin would find it: `--turn-listen`, `MOZNODS_TURN_LISTEN`, `moznods.toml`, `default`.
    origin: String,
}

/// All values as written, by path; what [`Config`](super::Config) is parsed from and `config print` shows.
#[derive(Clone, Default)]
pub struct Settings {
    raw: BTreeMap<&'static str, Raw>,
    /// Those that have changed since the start, and wait for the next one.
    waiting: Vec<&'static str>,
}

/// A setting for those who may see all of them but the secrets.
pub struct Setting<'a> {
    /// `section.name`, or `name` for those above all sections.
    pub key: &'static str,
    /// As it was written; `None`: it is a secret.
    pub value: Option<&'a str>,
    pub is_set: bool,
    /// The flag, the variable or the file that says so, or `default`.
    pub origin: &'a str,
    /// Whether a running server takes over another value on SIGHUP.
    pub is_reloaded: bool,
    /// Whether there was another one when they were last read again, which waits for the next start.
    pub is_waiting: bool,
}

impl Settings {
    /// Collects the layers: `flags`, the process's environment, the file.
    pub fn collect(flags: &Flags) -> Result<Self, ConfigError> {
        Self::layered(
            flags,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    pub(super) fn layered(
        flags: &Flags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut raw: BTreeMap<&'static str, Raw> = KEYS
            .iter()
            .map(|key| {
                let text = key.default.to_owned();
                let origin = "default".to_owned();
                (key.path, Raw { text, origin })
            })
            .collect();

        let variables: BTreeMap<String, String> = environment
            .filter(|(name, _)| name.starts_with("MOZNODS_"))
            .collect();
        let named = flags
            .file
            .clone()
            .or_else(|| variables.get(FILE_VARIABLE).map(PathBuf::from));
        let file = match &named {
            Some(named) => Some(named.as_path()),
            None => unnamed(),
        };
        if let Some(file) = file {
            read_file(file, &mut raw)?;
        }

        for (name, text) in variables {
            if name == FILE_VARIABLE {
                continue;
            }
            let known = KEYS.iter().map(|key| variable(key.path));
            let is_meant =
                |path| variable(path) == name || short(path).is_some_and(|short| short == name);
            let Some(key) = KEYS.iter().find(|key| is_meant(key.path)) else {
                return Err(ConfigError(format!(
                    "{name} in the environment: there is no such setting{}",
                    nearest(&name, known)
                )));
            };
            raw.insert(key.path, Raw { text, origin: name });
        }
        for (path, text) in &flags.values {
            let origin = format!("--{}", path.replace(['.', '_'], "-"));
            raw.insert(
                path,
                Raw {
                    text: text.clone(),
                    origin,
                },
            );
        }
        let is_set = |path| {
            raw.get(path)
                .is_some_and(|raw: &Raw| !raw.text.trim().is_empty())
        };
        let behind = raw.get("behind_proxy").map_or("", |raw| raw.text.as_str());
        let mut derived: Vec<(&str, &str, String)> = proxy::defaults(behind)
            .into_iter()
            .map(|(path, text)| ("behind_proxy", path, text.to_owned()))
            .collect();
        if is_set("domain") {
            derived.push(("domain", "http.listen", "[::]:80".to_owned()));
        }
        for (from, path, text) in derived {
            if let Some(raw) = raw.get_mut(path)
                && raw.origin == "default"
            {
                let origin = format!("{DERIVED}{from} is set");
                *raw = Raw { text, origin };
            }
        }
        Ok(Settings {
            raw,
            waiting: Vec::new(),
        })
    }

    /// These, by their paths, above the defaults alone.
    pub fn of(values: &[(&'static str, String)], origin: &str) -> Self {
        let defaults = KEYS
            .iter()
            .map(|key| (key.path, key.default.to_owned(), "default"));
        let values = values
            .iter()
            .map(|(path, text)| (*path, text.clone(), origin));
        let raw = |(path, text, origin): (&'static str, String, &str)| {
            let origin = origin.to_owned();
            (path, Raw { text, origin })
        };
        Settings {
            raw: defaults.chain(values).map(raw).collect(),
            waiting: Vec::new(),
        }
    }

    /// Those that a running server cannot take over and that are others in `newer`.
    pub fn fixed_changes(&self, newer: &Settings) -> Vec<&'static str> {
        let differs = |path: &str| {
            let text = |settings: &Settings| settings.raw.get(path).map(|raw| raw.text.clone());
            text(self) != text(newer)
        };
        let fixed = KEYS.iter().filter(|key| !key.reloaded);
        fixed
            .map(|key| key.path)
            .filter(|path| differs(path))
            .collect()
    }

    /// These, with what a running server takes over of `newer`.
    pub fn reloaded(&self, newer: &Settings) -> Settings {
        let mut raw = self.raw.clone();
        for key in KEYS.iter().filter(|key| key.reloaded) {
            if let Some(newer) = newer.raw.get(key.path) {
                raw.insert(key.path, newer.clone());
            }
        }
        Settings {
            raw,
            waiting: self.fixed_changes(newer),
        }
    }

    /// All of them, those of a section together.
    pub fn all(&self) -> impl Iterator<Item = Setting<'_>> {
        KEYS.iter().filter_map(|key| {
            let Raw { text, origin } = self.raw.get(key.path)?;
            Some(Setting {
                key: key.path,
                value: (!key.secret).then_some(text.as_str()),
                is_set: !text.is_empty(),
                origin,
                is_reloaded: key.reloaded,
                is_waiting: self.waiting.contains(&key.path),
            })
        })
    }

    /// The settings in force as a `moznods.toml`, each with its origin; secrets are left out.
    pub fn print(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in self.all() {
            let (head, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if head != section {
                out.push_str(&format!("\n[{head}]\n"));
                section = head;
            }
            let origin = setting.origin;
            let Some(text) = setting.value else {
                let state = match setting.is_set {
                    true => "set, not shown",
                    false => "not set",
                };
                out.push_str(&format!("# {name}: {state} ({origin})\n"));
                continue;
            };
            let value = toml::Value::String(text.to_owned());
            out.push_str(&format!("{name} = {value}  # {origin}\n"));
        }
        out
    }

    pub(super) fn get<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        right: &str,
    ) -> Result<T, ConfigError> {
        let (text, origin) = match self.raw.get(path) {
            Some(raw) => (raw.text.trim(), raw.origin.as_str()),
            None => ("", "default"),
        };
        parse(text).ok_or_else(|| {
            let secret = KEYS.iter().any(|key| key.path == path && key.secret);
            let shown = if secret { "…" } else { text };
            ConfigError(format!("{path} = \"{shown}\" ({origin}): expected {right}"))
        })
    }

    /// Whether nobody has set it, and it follows from another setting.
    pub(super) fn is_derived(&self, path: &str) -> bool {
        let raw = self.raw.get(path);
        raw.is_some_and(|raw| raw.origin.starts_with(DERIVED))
    }

    pub(super) fn list<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        right: &str,
    ) -> Result<Vec<T>, ConfigError> {
        let items = |text: &str| {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(&parse)
                .collect()
        };
        self.get(path, items, right)
    }

    pub(super) fn switch(&self, path: &'static str) -> Result<bool, ConfigError> {
        self.get(path, |text| text.parse().ok(), "true or false")
    }
}

fn variable(path: &str) -> String {
    format!("MOZNODS_{}", path.replace('.', "_").to_uppercase())
}

/// As people know the variables of what all processes share: `MOZNODS_DATABASE_URL`.
fn short(path: &str) -> Option<String> {
    let name = path.strip_prefix("storage.")?;
    name.ends_with("_url").then(|| variable(name))
}

/// The file that is read when none is named.
fn unnamed() -> Option<&'static Path> {
    let (own, system) = (Path::new(DEFAULT_FILE), Path::new(SYSTEM_FILE));
    // One that may not be looked at counts: without it, settings would be others than the service's.
    if own.exists() {
        return Some(own);
    }
    system.try_exists().unwrap_or(true).then_some(system)
}

fn read_file(file: &Path, raw: &mut BTreeMap<&'static str, Raw>) -> Result<(), ConfigError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError(format!("{name}: cannot be read: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            1 + text
                .bytes()
                .take(span.start)
                .filter(|b| *b == b'\n')
                .count()
        });
        // The parser's own text quotes the line, which may hold a secret.
        ConfigError(format!("{name} line {line}: not TOML: {}", error.message()))
    })?;
    for (head, value) in &table {
        match value {
            toml::Value::Table(section) => {
                for (key, value) in section {
                    set_from_file(file, &format!("{head}.{key}"), value, raw)?;
                }
            }
            value => set_from_file(file, head, value, raw)?,
        }
    }
    Ok(())
}

fn set_from_file(
    file: &Path,
    path: &str,
    value: &toml::Value,
    raw: &mut BTreeMap<&'static str, Raw>,
) -> Result<(), ConfigError> {
    let name = file.display();
    let Some(key) = KEYS.iter().find(|key| key.path == path) else {
        return Err(ConfigError(format!(
            "{path} in {name}: there is no such setting{}",
            nearest(path, KEYS.iter().map(|key| key.path.to_owned()))
        )));
    };
    let scalar = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    };
    let text = match value {
        toml::Value::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        value => scalar(value),
    };
    let text = text.ok_or_else(|| {
        ConfigError(format!(
            "{path} in {name}: a {} stands here; expected a text, a number, true/false, or a list of them",
            value.type_str()
        ))
    })?;
    let origin = name.to_string();
    raw.insert(key.path, Raw { text, origin });
    Ok(())
}

/// `; did you mean X?` when one of `known` is near enough to be what was meant.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    known
        .map(|candidate| (strsim::jaro_winkler(name, &candidate), candidate))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or(
            "; `moznods config print` lists those there are".to_owned(),
            |(_, candidate)| format!("; did you mean {candidate}?"),
        )
}
