//! The command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::error::ConfigError;
use super::flags::KEY_FLAGS;
use super::source::ConfigSource;
use crate::domain::SaleKey;

/// A flash-sale engine: admits a crowd at the edge, never oversells, never loses an acknowledged order.
#[derive(Debug, Parser)]
#[command(name = "seckill", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the engine (also without a command)
    #[default]
    Serve,
    /// Check the configuration and print every value in force with its origin
    CheckConfig {
        /// Ask PostgreSQL and Redis as well whether an engine could sell there, and change nothing
        #[arg(long)]
        servers: bool,
    },
    /// Print the page of all configuration keys, as Markdown
    ConfigReference,
    /// Print the OpenAPI document of a plane, as `GET /openapi.json` answers it there
    Openapi {
        /// Whose
        plane: Plane,
    },
    /// Ask the engine on the configured admin address whether it lives; exit code 0 means yes
    Healthcheck {
        /// Ask whether buyers can be sent there, instead: for load balancers, not for what restarts a container
        #[arg(long)]
        ready: bool,
    },
    /// Print what makes a shell complete this program's commands and flags
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page; with a folder, write there the pages of all commands, as `man` wants them
    Man {
        /// Where the pages go: the folder must be there
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// Copy the orders to a file while the engine sells, and check the copy; an existing file is never replaced
    Backup {
        /// The copy
        file: PathBuf,
    },
    /// Print what a backup holds; exit code 0 means that an engine can be started from it, 1 that it is damaged
    CheckBackup {
        /// The backup
        file: PathBuf,
    },
    /// Print the books of every sale that several engines share; exit code 0 means that they agree, 1 that they do not
    Reconcile {
        /// Only look, and write nothing (engines repair by themselves; there is no other way)
        #[arg(long, required = true)]
        check: bool,
        /// Admin address of a running node, such as http://127.0.0.1:9090, for what it has in memory; may be repeated
        #[arg(long, value_name = "URL")]
        admin: Vec<String>,
    },
    /// Draw the waiting room of a sale again from its exported registrations; exit code 0 means that every admission was in
    /// order, 1 that one was not
    VerifyDraw {
        /// The sale, such as winter/coat
        #[arg(value_name = "CAMPAIGN/SKU", required_unless_present = "from")]
        sale: Option<String>,
        /// Admin address of a running engine
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
        admin: String,
        /// Whose sale it is
        #[arg(long, default_value = SaleKey::DEFAULT_TENANT)]
        tenant: String,
        /// Keep what was fetched in this folder
        #[arg(long, value_name = "FOLDER")]
        save: Option<PathBuf>,
        /// Check what was kept in this folder, and ask no engine
        #[arg(long, value_name = "FOLDER", conflicts_with_all = ["sale", "save"])]
        from: Option<PathBuf>,
    },
}

/// Where an engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plane {
    /// Buyers' requests
    Edge,
    /// Operators' requests
    Admin,
}

/// Every key can be set in the file, by SECKILL__SECTION__KEY in the environment, and the common ones by a flag.
#[derive(Debug, Args)]
struct Flags {
    /// Configuration file (TOML) [also: SECKILL_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where buyers' requests arrive [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", global = true)]
    edge_listen: Option<String>,
    /// Where the admin API and the console are [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin_listen: Option<String>,
    /// Folder of the orders [default: data]
    #[arg(long, value_name = "FOLDER", global = true)]
    data_dir: Option<String>,
    /// PostgreSQL database of the orders, instead of the folder [default: none]
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// Redis that lends the stock to several engines on one database [default: none, this engine sells alone]
    #[arg(long, value_name = "URL", global = true)]
    redis_url: Option<String>,
    /// Open the demo sale on an empty store, also where others can reach it
    #[arg(long, global = true)]
    demo: bool,
    /// Number of this engine among those that sell the same stock [default: 0]
    #[arg(long, value_name = "NUMBER", global = true)]
    node_id: Option<String>,
}

/// Names the configuration file where no flag does: a container's health check gets no flags.
const FILE_VARIABLE: &str = "SECKILL_CONFIG";

impl Cli {
    /// What to do.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or_default()
    }

    /// What makes a shell complete commands and flags.
    pub fn completions(shell: Shell) -> String {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut <Self as CommandFactory>::command(), "seckill", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The manual page of the program, in roff.
    ///
    /// # Errors
    /// None that memory has.
    pub fn man() -> io::Result<String> {
        let mut text = Vec::new();
        clap_mangen::Man::new(<Self as CommandFactory>::command()).render(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes the manual pages of the program and of each command, one file each.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write_man(folder: &Path) -> io::Result<()> {
        clap_mangen::generate_to(<Self as CommandFactory>::command(), folder)
    }

    /// Where the configuration comes from: the file and the flags given here, and this process's environment.
    ///
    /// # Errors
    /// A variable is not UTF-8.
    pub fn source(self) -> Result<ConfigSource, ConfigError> {
        let Flags { config, edge_listen, admin_listen, data_dir, database_url, redis_url, demo, node_id } =
            self.flags;
        let file = config.or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let mut source = ConfigSource::new(file).with_env(std::env::vars_os())?;
        let texts = [
            edge_listen,
            admin_listen,
            data_dir,
            database_url,
            redis_url,
            node_id,
            demo.then(|| "true".into()),
        ];
        for ((flag, key), text) in KEY_FLAGS.into_iter().zip(texts) {
            if let Some(text) = text {
                source = source.with_flag(flag, key, text);
            }
        }
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["seckill"], args].concat())
    }

    #[test]
    fn serving_is_what_is_done_without_a_command() {
        assert_eq!(parse(&[]).unwrap().command(), Command::Serve);
        assert_eq!(parse(&["--node-id", "3"]).unwrap().command(), Command::Serve);
        assert_eq!(parse(&["serve"]).unwrap().command(), Command::Serve);
        assert_eq!(parse(&["check-config"]).unwrap().command(), Command::CheckConfig { servers: false });
        let asking = parse(&["check-config", "--servers"]).unwrap().command();
        assert_eq!(asking, Command::CheckConfig { servers: true });
        assert_eq!(parse(&["healthcheck"]).unwrap().command(), Command::Healthcheck { ready: false });
        let ready = parse(&["healthcheck", "--ready"]).unwrap().command();
        assert_eq!(ready, Command::Healthcheck { ready: true });
        let file = PathBuf::from("f");
        assert_eq!(parse(&["backup", "f"]).unwrap().command(), Command::Backup { file: file.clone() });
        assert_eq!(parse(&["check-backup", "f"]).unwrap().command(), Command::CheckBackup { file });
        assert_eq!(
            parse(&["completions", "bash"]).unwrap().command(),
            Command::Completions { shell: Shell::Bash }
        );
        assert_eq!(parse(&["man"]).unwrap().command(), Command::Man { dir: None });
        assert!(parse(&["completions", "cmd.exe"]).is_err());
        assert_eq!(parse(&["openapi", "edge"]).unwrap().command(), Command::Openapi { plane: Plane::Edge });
        assert!(parse(&["backup"]).is_err());
        assert!(parse(&["sell"]).is_err());
        let admin = vec!["http://a".to_owned(), "http://b".to_owned()];
        let args = ["reconcile", "--check", "--admin", "http://a", "--admin", "http://b"];
        assert_eq!(parse(&args).unwrap().command(), Command::Reconcile { check: true, admin });
        assert!(parse(&["reconcile"]).is_err());
        let Command::VerifyDraw { sale, admin, tenant, save, from } =
            parse(&["verify-draw", "a/b"]).unwrap().command()
        else {
            panic!("another command")
        };
        assert_eq!((sale.as_deref(), admin.as_str()), (Some("a/b"), "http://127.0.0.1:9090"));
        assert_eq!((tenant.as_str(), save, from), ("default", None, None));
        assert!(parse(&["verify-draw", "--from", "f"]).is_ok());
        assert!(parse(&["verify-draw"]).is_err() && parse(&["verify-draw", "a/b", "--from", "f"]).is_err());
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for args in [["--data-dir", "d", "check-config"], ["check-config", "--data-dir", "d"]] {
            let settings = parse(&args).unwrap().source().unwrap().load().unwrap().settings;
            assert_eq!(settings.data_dir, PathBuf::from("d"));
        }
    }

    #[test]
    fn each_flag_sets_its_key() {
        let settings = |args: &[&str]| parse(args).unwrap().source().unwrap().load().unwrap().settings;
        assert_eq!(settings(&["--edge-listen", "127.0.0.1:81"]).edge.listen, "127.0.0.1:81".parse().unwrap());
        assert_eq!(settings(&["--admin-listen", "127.0.0.1:0"]).admin.listen, "127.0.0.1:0".parse().unwrap());
        assert_eq!(settings(&["--node-id", "7"]).node.id, 7);
        let error = parse(&["--node-id", "x"]).unwrap().source().unwrap().load().unwrap_err();
        assert!(error.to_string().starts_with("node.id (flag --node-id): "), "{error}");
    }
}
