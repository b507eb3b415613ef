//! Reads the four places and remembers where each value came from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{ConfigError, Problem};
use super::origin::Origin;
use super::secret_files::{SecretFile, is_secret};
use super::settings::Settings;

/// Environment variables that begin like this are keys: `SECKILL__EDGE__LISTEN` is `edge.listen`.
pub const ENV_PREFIX: &str = "SECKILL__";

/// The variable by which programs in Rust are told how much to log. Here it is `log.level`; the key's own variable wins.
const RUST_LOG: &str = "RUST_LOG";

/// The places that a configuration is read from. Reading again sees what the file says by then.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The TOML file, if one was named.
    pub file: Option<PathBuf>,
    texts: Vec<KeyText>,
}

/// A value that was given as text, by the environment or by a flag.
#[derive(Clone, Debug)]
struct KeyText {
    key: String,
    text: String,
    origin: Origin,
}

impl ConfigSource {
    /// Reads from `file`, if there is one.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, texts: Vec::new() }
    }

    /// Takes the variables whose names begin with [`ENV_PREFIX`], and `RUST_LOG`, if it says something.
    ///
    /// # Errors
    /// One of them is not UTF-8.
    pub fn with_env(
        mut self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in vars {
            let name = name.to_string_lossy().into_owned();
            let is_rust_log = name == RUST_LOG && !value.is_empty();
            let key = match name.strip_prefix(ENV_PREFIX) {
                Some(key) => key.to_ascii_lowercase().replace("__", "."),
                None if is_rust_log => "log.level".to_owned(),
                None => continue,
            };
            let Ok(text) = value.into_string() else {
                let text = "is not valid UTF-8".into();
                return Err(Problem { key, origin: Origin::Env(name).to_string(), text }.into());
            };
            let text = KeyText { key, text, origin: Origin::Env(name) };
            // What stands first gives way to what follows.
            let place = if is_rust_log { 0 } else { self.texts.len() };
            self.texts.insert(place, text);
        }
        Ok(self)
    }

    /// Sets `key` by a flag. Flags win over everything.
    pub fn with_flag(mut self, flag: &'static str, key: &str, text: String) -> Self {
        self.texts.push(KeyText { key: key.to_owned(), text, origin: Origin::Flag(flag) });
        self
    }

    /// Reads everything and checks it.
    ///
    /// # Errors
    /// What is wrong, by key, and where that value came from.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut base = Figment::from(Layer {
            origin: Origin::Default,
            provider: Serialized::defaults(Settings::default()),
        });
        if let Some(path) = &self.file {
            base = with_file(base, path)?;
        }
        let texts = self.texts.iter().map(KeyText::or_what_its_file_says).collect::<Result<Vec<_>, _>>()?;
        let mut verbatim = vec![false; texts.len()];
        loop {
            let mut figment = base.clone();
            for (text, &verbatim) in texts.iter().zip(&verbatim) {
                figment =
                    figment.merge(Layer { origin: text.origin.clone(), provider: text.layer(verbatim)? });
            }
            let error = match figment.extract::<Settings>() {
                Ok(settings) => return Config { settings, figment }.checked(),
                Err(error) => error,
            };
            // A text may look like a number and yet be meant as one: a token of digits, say. Only the type that the
            // settings want can tell, so the value is taken as written when anything else does not fit.
            let origin = error.metadata.as_ref().and_then(Origin::of);
            let text = texts.iter().position(|text| Some(&text.origin) == origin.as_ref());
            match text {
                Some(n) if matches!(error.kind, Kind::InvalidType(..)) && !verbatim[n] => verbatim[n] = true,
                _ => return Err(explain(error)),
            }
        }
    }
}

/// The file over what there is, and over it the secrets that it leaves to files of their own.
fn with_file(base: Figment, path: &Path) -> Result<Figment, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let provider = Toml::string(&read(path)?);
    // What is no TOML is told by whoever reads all layers.
    let Ok(mut layer) = provider.data() else { return Ok(base.merge(Layer { origin, provider })) };
    let mut files = Vec::new();
    for table in layer.values_mut() {
        files.extend(SecretFile::take_from(table, "", &origin)?);
    }
    let mut figment = base.merge(Layer { origin: origin.clone(), provider: Tables(layer) });
    for file in files {
        let secret = Serialized::default(&file.key, file.read(&origin)?);
        figment = figment.merge(Layer { origin: file.origin(), provider: secret });
    }
    Ok(figment)
}

/// Tables that have been read.
struct Tables(Map<Profile, Dict>);

impl Provider for Tables {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(self.0.clone())
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let origin = Origin::File(path.to_owned()).to_string();
        Problem { key: String::new(), origin, text: format!("cannot be read: {error}") }.into()
    })
}

/// A provider under the name of its [`Origin`], which figment keeps with each value.
struct Layer<P> {
    origin: Origin,
    provider: P,
}

impl<P: Provider> Provider for Layer<P> {
    fn metadata(&self) -> Metadata {
        self.origin.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.provider.data()
    }
}

impl KeyText {
    /// This text, or the secret that stands in the file which it names.
    fn or_what_its_file_says(&self) -> Result<Self, Problem> {
        let Some(file) = SecretFile::named(&self.key, &self.text) else { return Ok(self.clone()) };
        let text = match file.read(&self.origin)? {
            Value::String(_, text) => text,
            list => {
                let secrets = list.into_array().unwrap_or_default();
                let secrets: Vec<_> =
                    secrets.iter().filter_map(Value::as_str).map(|one| format!("{one:?}")).collect();
                format!("[{}]", secrets.join(", "))
            }
        };
        Ok(Self { key: file.key, text, origin: self.origin.clone() })
    }

    fn layer(&self, verbatim: bool) -> Result<Serialized<Value>, Problem> {
        let mut value = if verbatim { Value::from(self.text.as_str()) } else { typed(&self.text) };
        SecretFile::read_into_list(&self.key, &mut value, &self.origin)?;
        Ok(Serialized::default(&self.key, value))
    }
}

/// What a text looks like: a truth value, a number, a list, or just text.
fn typed(text: &str) -> Value {
    let trimmed = text.trim();
    let listed = trimmed.starts_with('[') && trimmed.ends_with(']');
    match trimmed.parse::<i64>() {
        Ok(number) => number.into(),
        Err(_) if trimmed == "true" || trimmed == "false" => (trimmed == "true").into(),
        Err(_) if listed => trimmed.parse().unwrap_or_else(|_| text.into()),
        Err(_) => trimmed.parse::<f64>().map_or_else(|_| text.into(), Value::from),
    }
}

fn explain(errors: figment::Error) -> ConfigError {
    let problems = errors.into_iter().map(|error| {
        let origin =
            error.metadata.as_ref().and_then(Origin::of).map_or(String::new(), |origin| origin.to_string());
        let key = error.path.join(".");
        let text = match &error.kind {
            Kind::UnknownField(_, []) => "is an unknown key".into(),
            Kind::UnknownField(_, known) => format!("is an unknown key; known here: {}", known.join(", ")),
            // These quote the value, and it may be a secret all the same.
            Kind::InvalidType(..) | Kind::InvalidValue(..) if is_secret(&key) => {
                "is not a text; put it in quotes".into()
            }
            kind => kind.to_string(),
        };
        Problem { key, origin, text }
    });
    ConfigError { problems: problems.collect() }
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    figment: Figment,
}

impl fmt::Debug for Config {
    // Without the figment, which holds the secrets as they were given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Config {
    fn checked(self) -> Result<Self, ConfigError> {
        let mut problems = self.settings.check();
        for problem in &mut problems {
            problem.origin = self.origin(&problem.key).to_string();
        }
        if problems.is_empty() { Ok(self) } else { Err(ConfigError { problems }) }
    }

    /// Where the value of `key` comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.figment.find_metadata(key).and_then(Origin::of).unwrap_or(Origin::Default)
    }

    /// The value of `key` as it was given: what a secret really is.
    pub(super) fn given(&self, key: &str) -> Option<Value> {
        self.figment.find_value(key).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, ConfigSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seckill.toml");
        std::fs::write(&path, text).unwrap();
        (folder, ConfigSource::new(Some(path)))
    }

    fn env(vars: &[(&str, &str)]) -> ConfigSource {
        with_env(ConfigSource::new(None), vars)
    }

    fn with_env(source: ConfigSource, vars: &[(&str, &str)]) -> ConfigSource {
        source.with_env(vars.iter().map(|(name, value)| (name.into(), value.into()))).unwrap()
    }

    fn only_problem(source: &ConfigSource) -> Problem {
        let problems = source.load().unwrap_err().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn a_later_place_wins_and_each_value_knows_its_own() {
        let text = "data_dir = \"from-file\"\n[node]\nid = 1\n[store]\nqueue_orders_max = 100\n";
        let (folder, source) = file(text);
        let vars = [("SECKILL__NODE__ID", "2"), ("SECKILL__STORE__QUEUE_ORDERS_MAX", "200"), ("OTHER", "x")];
        let source = with_env(source, &vars).with_flag("--node-id", "node.id", "3".into());
        let config = source.load().unwrap();
        assert_eq!(config.settings.node.id, 3);
        assert_eq!(config.settings.store.queue_orders_max, 200);
        assert_eq!(config.settings.data_dir, PathBuf::from("from-file"));
        assert_eq!(config.origin("node.id"), Origin::Flag("--node-id"));
        assert_eq!(
            config.origin("store.queue_orders_max"),
            Origin::Env("SECKILL__STORE__QUEUE_ORDERS_MAX".into())
        );
        assert_eq!(config.origin("data_dir"), Origin::File(folder.path().join("seckill.toml")));
        assert_eq!(config.origin("log.level"), Origin::Default);
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ConfigSource::default().load().unwrap().settings, Settings::default());
    }

    #[test]
    fn unknown_keys_are_named_with_their_place() {
        let (_folder, source) = file("[store]\nqueue_orders_mx = 1\n");
        let problem = only_problem(&source);
        assert_eq!(problem.key, "store.queue_orders_mx");
        assert!(problem.origin.ends_with("seckill.toml"), "{problem}");
        assert!(problem.text.contains("queue_orders_max"), "{problem}");

        let (_folder, source) = file("[stroe]\nqueue_orders_max = 1\n");
        assert_eq!(only_problem(&source).key, "stroe");

        for (name, key) in
            [("SECKILL__STORE__QUEUE_ORDERS_MX", "store.queue_orders_mx"), ("SECKILL__TYPO", "typo")]
        {
            let problem = only_problem(&env(&[(name, "1")]));
            assert_eq!((problem.key.as_str(), problem.origin.as_str()), (key, &*format!("env {name}")));
        }
    }

    #[test]
    fn a_text_is_taken_as_the_type_that_the_key_has() {
        let config = env(&[
            ("SECKILL__ADMIN__TOKEN", "0123456789012345"),
            ("SECKILL__DATA_DIR", "true"),
            ("SECKILL__LOG__FORMAT", "json"),
            ("SECKILL__ADMIN__LISTEN", "[::1]:9091"),
            ("SECKILL__STORE__QUEUE_ORDERS_MAX", " 7 "),
            ("SECKILL__EDGE__AUTH__ORIGIN_SECRET", "[quoted-quoted-]"),
            ("SECKILL__EDGE__AUTH__JWT__KEY", "00000000000000000000000000000001"),
            ("SECKILL__EDGE__AUTH__JWT__ALGORITHM", "HS256"),
            ("SECKILL__EDGE__SALE_STATE__PLATFORMS__WEB", "[sku, state]"),
            ("SECKILL__CHECKOUT__GATEWAY__SIMULATED__DECLINE_RATE", "0.25"),
            ("SECKILL__CHECKOUT__METHODS", "[\"card\"]"),
        ]);
        let settings = config.load().unwrap().settings;
        assert!(settings.admin.token.matches(b"0123456789012345"));
        assert_eq!(settings.data_dir, PathBuf::from("true"));
        assert_eq!(settings.log.format, crate::telemetry::LogFormat::Json);
        assert_eq!(settings.admin.listen, "[::1]:9091".parse().unwrap());
        assert_eq!(settings.store.queue_orders_max, 7);
        assert!(settings.edge.auth.origin_secret.matches(b"[quoted-quoted-]"));
        assert!(settings.edge.auth.jwt.unwrap().key.matches(b"00000000000000000000000000000001"));
        assert_eq!(settings.edge.sale_state.platforms["web"], ["sku", "state"]);
        assert_eq!(settings.edge.sale_state.platforms.len(), 2);
        assert_eq!(settings.checkout.gateway.simulated.decline_rate, 0.25);
        assert_eq!(settings.checkout.methods, ["card"]);
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key_and_place() {
        for value in ["many", "-1", "1.5", "true", "99999999999999999999"] {
            let problem = only_problem(&env(&[("SECKILL__STORE__QUEUE_ORDERS_MAX", value)]));
            assert_eq!(problem.key, "store.queue_orders_max", "{value}");
            assert_eq!(problem.origin, "env SECKILL__STORE__QUEUE_ORDERS_MAX", "{value}");
        }
        let problem = only_problem(&env(&[("SECKILL__ADMIN", "1")]));
        assert_eq!(problem.key, "admin");
    }

    #[test]
    fn everything_out_of_range_is_reported_at_once() {
        let source = env(&[
            ("SECKILL__NODE__ID", "1024"),
            ("SECKILL__STORE__QUEUE_ORDERS_MAX", "0"),
            ("SECKILL__ADMISSION__BUYER_BURST", "0"),
            ("SECKILL__TELEMETRY__INTERVAL_MS", "1"),
            ("SECKILL__LOG__LEVEL", "loud"),
            ("SECKILL__DATA_DIR", ""),
            ("SECKILL__ADMIN__LISTEN", "0.0.0.0:9090"),
            ("SECKILL__EDGE__LISTEN", "0.0.0.0:8080"),
            ("SECKILL__CHECKOUT__WAIT_MS", "0"),
            ("SECKILL__LEDGER__SALES_MAX", "0"),
            ("SECKILL__SQLITE__READERS", "0"),
            ("SECKILL__REDIS__URL", "memcached://host"),
            ("SECKILL__RELAY__IDLE_MS", "0"),
        ]);
        let problems = source.load().unwrap_err().problems;
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "data_dir",
                "redis.url",
                "node.id",
                "edge.auth.origin_secret",
                "admission.buyer_burst",
                "ledger.sales_max",
                "redis.url",
                "relay.idle_ms",
                "store.queue_orders_max",
                "sqlite.readers",
                "admin.token",
                "telemetry.interval_ms",
                "log.level",
                "checkout.allow_simulated",
                "checkout.wait_ms"
            ]
        );
        assert_eq!(problems[2].origin, "env SECKILL__NODE__ID");
        assert_eq!(problems[10].origin, "default");
        assert!(problems[1].text.contains("postgres.url") && problems[6].text.contains("redis://"));
    }

    #[test]
    fn a_file_that_cannot_be_read_or_parsed_is_named() {
        let missing = only_problem(&ConfigSource::new(Some("no/such.toml".into())));
        assert_eq!(missing.origin, "file no/such.toml");
        let (_folder, source) = file("[store\n");
        let broken = only_problem(&source);
        assert!(broken.origin.ends_with("seckill.toml"), "{broken}");
    }

    #[test]
    fn rust_log_is_the_level_unless_the_keys_own_variable_is_there() {
        let (_folder, source) = file("[log]\nlevel = \"warn\"\n");
        let level = |vars: &[(&str, &str)]| {
            let config = with_env(source.clone(), vars).load().unwrap();
            (config.settings.log.level.clone(), config.origin("log.level"))
        };
        let own = ("SECKILL__LOG__LEVEL", "error");
        assert_eq!(
            level(&[("RUST_LOG", "debug,h2=off")]),
            ("debug,h2=off".into(), Origin::Env("RUST_LOG".into()))
        );
        for vars in [[own, ("RUST_LOG", "debug")], [("RUST_LOG", "debug"), own]] {
            assert_eq!(level(&vars).0, "error");
        }
        assert_eq!(level(&[("RUST_LOG", "")]).0, "warn");
        let problem = only_problem(&with_env(ConfigSource::new(None), &[("RUST_LOG", "loud")]));
        assert_eq!((problem.key.as_str(), problem.origin.as_str()), ("log.level", "env RUST_LOG"));
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let vars = [("SECKILL__DATA_DIR".into(), OsString::from_vec(vec![0xff]))];
        let error = ConfigSource::new(None).with_env(vars).unwrap_err();
        assert_eq!(error.problems[0].key, "data_dir");
    }
}
