//! The settings in `.env.example` and docs/ARCHITECTURE.md are those that the programs read. `make settings` writes
//! both after a change.

use std::fmt::{self, Display};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use hamro_shared::config::{Presence, SECRET_FILES, Variable};
use hamro_worker::dead_letters;

/// A setting and the programs that read it.
struct Setting {
    variable: Variable,
    programs: Vec<&'static str>,
}

/// All settings, in the order in which the programs read them.
fn settings() -> Vec<Setting> {
    let programs = [
        ("api", hamro_api::config::Config::variables()),
        ("worker", hamro_worker::config::Config::variables()),
        ("dead-letters", dead_letters::variables()),
    ];
    let mut settings: Vec<Setting> = Vec::new();
    for (program, variables) in programs {
        for variable in variables {
            match settings.iter_mut().find(|setting| setting.variable.name == variable.name) {
                None => settings.push(Setting { variable, programs: vec![program] }),
                Some(setting) => {
                    assert_eq!(setting.variable, variable, "the programs describe it differently");
                    setting.programs.push(program);
                }
            }
        }
    }
    settings
}

/// A row of the table in docs/ARCHITECTURE.md.
struct Row<'a>(&'a Setting);

impl Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { variable: Variable { name, meaning, expected, is_secret, presence }, programs } =
            self.0;
        let default = match presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => "none".to_owned(),
            Presence::Default(default) => format!("`{default}`"),
        };
        let secret = if *is_secret { "; secret" } else { "" };
        writeln!(f, "| `{name}` | {default} | {} | {meaning} | {expected}{secret} |", programs.join(", "))
    }
}

/// The lines about a setting in `.env.example`.
struct Example<'a>(&'a Setting);

impl Display for Example<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { variable: Variable { name, meaning, expected, is_secret, presence }, programs } =
            self.0;
        let secret = if *is_secret { " Secret." } else { "" };
        writeln!(f, "\n# {meaning}\n# Form: {expected}.{secret} Read by: {}.", programs.join(", "))?;
        match presence {
            Presence::Required => writeln!(f, "{name}="),
            Presence::Optional => writeln!(f, "# {name}="),
            Presence::Default(default) => writeln!(f, "# {name}={default}"),
        }
    }
}

/// Compares a committed file with its text as the code has it. `make settings` sets `UPDATE_SETTINGS`, which writes the
/// file instead.
fn assert_current(path: &str, current: &str) -> Result<()> {
    let committed = fs::read_to_string(path).unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting of the programs")]
    if env::var("UPDATE_SETTINGS").is_ok() {
        return Ok(fs::write(path, current)?);
    }
    let removed = lines_missing_from(current, &committed, '-');
    let added = lines_missing_from(&committed, current, '+');
    ensure!(
        committed == current,
        "{path} does not describe the settings in the code. Run `make settings`:\n{removed}\n{added}"
    );
    Ok(())
}

/// The lines of `other` that `text` does not have, each after `mark`.
fn lines_missing_from(text: &str, other: &str, mark: char) -> String {
    let missing = other.lines().filter(|line| !text.lines().any(|known| known == *line));
    missing.map(|line| format!("{mark} {line}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_table_of_settings_lists_what_the_programs_read() -> Result<()> {
    const START: &str = "<!-- `make settings` writes this table. -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ARCHITECTURE.md");
    let document = fs::read_to_string(path)?;
    let (before, rest) = document.split_once(START).context("there is no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    let rows: String = settings().iter().map(|setting| Row(setting).to_string()).collect();
    let head = "| variable | default | read by | meaning | form |\n| --- | --- | --- | --- | --- |\n";
    assert_current(path, &format!("{before}{START}{head}{rows}{END}{after}"))
}

#[test]
fn the_example_environment_lists_what_the_programs_read() -> Result<()> {
    let secret_files = SECRET_FILES.lines().map(|line| format!("# {line}\n")).collect::<Vec<_>>().concat();
    let head = "\
# The settings of the programs, with their defaults. `make settings` writes this file.
#
# `make up` does not need it: it passes its own environment on to the programs. To run a program by hand, copy this file
# to .env, complete it, and run
#
#   set -a; . ./.env; set +a; cargo run --bin hamro-api
#
# Docker Compose also reads .env. The top of docker-compose.yml says what it needs.
#
";
    let examples: String = settings().iter().map(|setting| Example(setting).to_string()).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
    assert_current(path, &format!("{head}{secret_files}{examples}"))
}

/// The names of the variables that a service of docker-compose.yml, or a block such as `x-addresses`, passes on: those below
/// `environment:` or below the block itself, and those of the blocks that it merges (`<<: *addresses`).
fn passed_on<'a>(compose: &'a str, block: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let body = |lines: &mut dyn Iterator<Item = &'a str>, outer: usize| -> Vec<&'a str> {
        lines.take_while(|line| line.trim().is_empty() || indent(line) > outer).collect()
    };
    let mut lines = compose.lines().skip_while(|line| !line.trim_start().starts_with(block)).peekable();
    let outer = lines.next().map(indent).unwrap_or_default();
    let mut block = body(&mut lines, outer);
    if let Some(start) = block.iter().position(|line| line.trim() == "environment:") {
        let outer = indent(block[start]);
        block = body(&mut block.into_iter().skip(start + 1), outer);
    }
    let (merged, own): (Vec<&str>, Vec<&str>) = block.into_iter().partition(|line| line.contains("<<:"));
    let names = own.into_iter().filter_map(|line| line.trim().split_once(':').map(|(name, _)| name));
    let merged = merged.into_iter().filter_map(|line| line.split_once('*'));
    names.chain(merged.flat_map(|(_, name)| passed_on(compose, &format!("x-{name}: ")))).collect()
}

#[test]
fn compose_passes_every_setting_on_to_the_programs_that_read_it() -> Result<()> {
    // The image sets these, or a container needs no other value.
    const OF_THE_IMAGE: [&str; 3] = ["HOST", "PORT", "WORKER_HTTP_PORT"];
    let compose = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml"))?;
    let mut missing = Vec::new();
    for program in ["api", "worker", "dead-letters"] {
        let passed_on = passed_on(&compose, &format!("{program}:"));
        let read = settings().into_iter().filter(|setting| setting.programs.contains(&program));
        let names = read.map(|setting| setting.variable.name).filter(|name| !OF_THE_IMAGE.contains(name));
        missing
            .extend(names.filter(|name| !passed_on.contains(name)).map(|name| format!("{program}: {name}")));
    }
    ensure!(missing.is_empty(), "docker-compose.yml does not pass on: {}", missing.join(", "));
    Ok(())
}

/// The lines of a block of a compose file, without indentation and comments.
fn block<'a>(compose: &'a str, name: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = compose.lines().skip_while(|line| line.trim_end_matches(" &node") != name);
    let outer = lines.next().map(indent).unwrap_or_default();
    let inner = lines.take_while(|line| line.trim().is_empty() || indent(line) > outer);
    inner.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn every_node_of_the_cluster_file_is_set_up_like_the_only_node() -> Result<()> {
    // What belongs to the first node, and headings that have an anchor in the other file.
    const OWN: [&str; 5] = ["hostname: rabbitmq", "ports:", "volumes:", "environment:", "configs:"];
    let read = |name: &str| fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR")));
    let (compose, cluster) = (read("docker-compose.yml")?, read("docker-compose.cluster.yml")?);
    let (only_node, node) = (block(&compose, "  rabbitmq:"), block(&cluster, "x-node:"));
    let is_own =
        |line: &&str| OWN.contains(line) || line.starts_with("- \"") || line.starts_with("- rabbitmq-data");
    let missing: Vec<_> =
        only_node.into_iter().filter(|line| !is_own(line) && !node.contains(line)).collect();
    ensure!(missing.is_empty(), "docker-compose.cluster.yml lacks: {missing:?}");

    // The tests run a cluster with the settings that users run.
    let (script, runbook) = (read("deploy/dev/rabbitmq.sh")?, read("docs/RUNBOOK.md")?);
    let settings = block(&cluster, "    content: |");
    let settings = settings.iter().filter(|line| !line.contains("classic_config.nodes."));
    for setting in settings {
        ensure!(script.contains(setting) && runbook.contains(setting), "another {setting}");
    }
    Ok(())
}
