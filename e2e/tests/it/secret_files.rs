//! Secrets in files: those that the programs read, and those that a running stack has written.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hamro_e2e::certificates::Files;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};

#[tokio::test]
async fn both_programs_read_their_secrets_from_files_and_warn_of_one_that_others_can_read() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let files = Files::new()?;
        let environment = deployment.environment(&[]);
        let value = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).with_context(|| format!("no {wanted}"))
        };
        let mut changes = Vec::new();
        for name in ["TICKET_KEYS", "ADMIN_TOKEN"] {
            let path = files.write(name, &format!("{}\n", value(name)?))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            changes.extend([(format!("{name}_FILE"), path), (name.to_owned(), String::new())]);
        }
        for (url, password_name) in [("DATABASE_URL", "DATABASE_PASSWORD"), ("AMQP_URL", "AMQP_PASSWORD")] {
            let (start, server) = value(url).map(|url| split(&url))?;
            let (user, password) = start.rsplit_once(':').context("no password")?;
            let path = files.write(password_name, &format!("{password}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
            changes.extend([
                (url.to_owned(), format!("{user}@{server}")),
                (format!("{password_name}_FILE"), path),
            ]);
        }
        let changes: Vec<_> = changes.iter().map(|(name, value)| (&**name, &**value)).collect();
        let api = deployment.start_api(&changes).await?;
        deployment.start_worker(&changes).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        for printed in [deployment.apis[api].process.printed(), deployment.workers[0].printed()] {
            for name in ["DATABASE_PASSWORD", "AMQP_PASSWORD"] {
                let warning =
                    format!("{name}_FILE: every user of this machine can access {}", files.path(name));
                assert!(printed.contains(&warning), "{printed}");
                assert!(printed.contains(&format!("chmod 0600 {}", files.path(name))), "{printed}");
            }
            assert!(!printed.contains("TICKET_KEYS_FILE"), "{printed}");
        }

        fs::remove_file(files.path("TICKET_KEYS"))?;
        let output = Process::output("hamro-api", &[], &deployment.environment(&changes)).await?;
        let printed = String::from_utf8([output.stdout, output.stderr].concat())?;
        assert!(!output.status.success(), "{printed}");
        let problem =
            format!("TICKET_KEYS_FILE is invalid: {} does not exist: create it", files.path("TICKET_KEYS"));
        assert!(printed.contains(&problem), "{printed}");
        Ok(())
    })
    .await
}

/// What is before and after the @.
fn split(url: &str) -> (String, String) {
    let (start, server) = url.rsplit_once('@').unwrap_or_default();
    (start.to_owned(), server.to_owned())
}

#[test]
fn only_their_owner_can_read_the_files_with_secrets_of_a_running_stack() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the settings of the tests come from the environment")]
    let setting =
        |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: use `make test`"));
    let stack = PathBuf::from(setting("HAMRO_STACK_DIR")?);
    let mut secrets = vec![fs::read_to_string(stack.join("rabbitmq/.erlang.cookie"))?];
    for name in ["DATABASE_URL", "AMQP_URL", "HAMRO_SUPERUSER_URL"] {
        let (start, _) = split(&setting(name)?);
        secrets.push(start.rsplit_once(':').context("no password")?.1.to_owned());
    }
    let (mut with_secrets, mut exposed) = (0, Vec::new());
    for file in files_below(&stack)? {
        // Postgres creates and removes files all the time.
        let Ok(content) = fs::read(&file) else { continue };
        let has_secret = secrets
            .iter()
            .any(|secret| content.windows(secret.len()).any(|window| window == secret.as_bytes()));
        if has_secret {
            with_secrets += 1;
            let mode = fs::metadata(&file).as_ref().map_or(0, Metadata::mode);
            if mode & 0o077 != 0 {
                exposed.push(format!("{} (mode {:04o})", file.display(), mode & 0o7777));
            }
        }
    }
    ensure!(with_secrets >= 4, "only {with_secrets} files with secrets were found");
    ensure!(exposed.is_empty(), "other users can read {}", exposed.join(", "));
    Ok(())
}

/// The regular files of the stack, without the databases.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && !path.ends_with("postgres") && !path.ends_with("rabbitmq/data") {
            files.extend(files_below(&path)?);
        }
    }
    Ok(files)
}
