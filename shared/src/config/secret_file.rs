//! Reads a secret from the file that `NAME_FILE` names, which is how container platforms provide secrets.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

/// A larger file contains something else than a secret.
const SIZE_MAX: u64 = 64 * 1024;

/// Reads the file without one trailing line break. An error says what to change, and contains nothing of the file.
pub fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error.kind()))?;
    if metadata.is_dir() {
        return Err(format!("{} is a directory: name a file in it", path.display()));
    }
    if !metadata.is_file() {
        // A pipe that nobody writes to would block the start.
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, error.kind()))?;
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error.kind()))?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(format!("{} is larger than 64 KiB: write only the secret into it", path.display()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("{} is not UTF-8 text: write the secret as text", path.display()))?;
    if text.starts_with('\u{feff}') {
        return Err(format!(
            "{} starts with a byte order mark: save it as UTF-8 without one",
            path.display()
        ));
    }
    let value = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if value.trim().is_empty() {
        return Err(format!("{} is empty: write the secret into it", path.display()));
    }
    Ok(value.to_owned())
}

/// Says how to protect a file that contains a secret, if other users of this machine can read it.
///
/// A group may read a file that belongs to another user: otherwise this process could not. Kubernetes shares secrets with
/// a container's user in this way (`fsGroup`).
pub fn exposure(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let user = geteuid().as_raw();
    let is_own = metadata.uid() == user;
    let who = match metadata.mode() {
        mode if mode & 0o007 != 0 => "every user of this machine",
        mode if mode & 0o070 != 0 && is_own => "its group",
        _ => return None,
    };
    let remedy = remedy(path, &metadata, user);
    Some(format!("{who} can access {} (mode {:04o}): {remedy}", path.display(), metadata.mode() & 0o7777))
}

fn remedy(path: &Path, metadata: &Metadata, user: u32) -> String {
    let path = path.display();
    if metadata.uid() == user {
        return format!("run chmod 0600 {path}, or on Kubernetes set defaultMode: 0400");
    }
    format!(
        "run chown {user} {path} and chmod 0600 {path}, or on Kubernetes set defaultMode: 0400 and fsGroup: {}",
        nix::unistd::getegid()
    )
}

fn unreadable(path: &Path, error: ErrorKind) -> String {
    // Who confuses NAME and NAME_FILE has written the secret where a path is expected.
    let shown = if path.is_absolute() { path.display().to_string() } else { "the file".to_owned() };
    match error {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
            format!("{shown} does not exist: create it, or correct the path")
        }
        ErrorKind::PermissionDenied => {
            format!("this process (user {}) may not read {shown}: make this user its owner", geteuid())
        }
        kind => format!("{shown} cannot be read: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A file in a directory of its own, which is removed on drop.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(content: &[u8], mode: u32) -> Self {
            let directory =
                std::env::temp_dir().join(format!("hamro-secret-{:032x}", rand::random::<u128>()));
            fs::create_dir(&directory).unwrap();
            let file = directory.join("secret");
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            Self(file)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            fs::remove_dir_all(self.0.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_file_is_read_without_one_trailing_line_break() {
        for (content, value) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            ("hunter2\n\n", "hunter2\n"),
            ("a\nb\n", "a\nb"),
            (" नमस्ते ", " नमस्ते "),
        ] {
            let file = TestFile::new(content.as_bytes(), 0o600);
            assert_eq!(read(&file.0).as_deref(), Ok(value), "{content:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_one_secret_is_refused_with_what_to_change_and_without_its_content() {
        let large = "hunter2 ".repeat(10_000);
        for (content, problem) in [
            (&b""[..], "is empty: write the secret into it"),
            (b" \n", "is empty: write the secret into it"),
            (b"hunter2\xff", "is not UTF-8 text"),
            (b"\xff\xfeh\0u\0", "is not UTF-8 text"),
            (b"\xef\xbb\xbfhunter2", "starts with a byte order mark"),
            (large.as_bytes(), "is larger than 64 KiB"),
        ] {
            let file = TestFile::new(content, 0o600);
            let error = read(&file.0).unwrap_err();
            assert!(error.contains(problem) && error.contains(file.0.to_str().unwrap()), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_path_that_leads_to_no_readable_file_is_refused() {
        let file = TestFile::new(b"x", 0o600);
        for (path, problem) in [
            ("/nowhere/secret", "/nowhere/secret does not exist: create it, or correct the path"),
            (file.0.join("more").to_str().unwrap(), "does not exist"),
            ("/tmp", "/tmp is a directory: name a file in it"),
            ("/dev/zero", "/dev/zero is not a regular file"),
        ] {
            let error = read(Path::new(path)).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_secret_that_was_written_in_place_of_a_path_is_not_repeated() {
        let long = "hunter2".repeat(1000);
        for text in ["hunter2", "postgres://u:hunter2@db/hamro", &long] {
            let error = read(Path::new(text)).unwrap_err();
            assert!(error.starts_with("the file ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_access_is_named_with_the_command_that_protects_it() {
        for mode in [0o644, 0o604, 0o640, 0o666, 0o660, 0o602] {
            let file = TestFile::new(b"hunter2", mode);
            let path = file.0.display();
            let exposure = exposure(&file.0).unwrap();
            assert!(exposure.contains(&format!("chmod 0600 {path}")), "{exposure}");
            assert!(exposure.contains(&format!("(mode {mode:04o})")), "{exposure}");
        }
        for mode in [0o600, 0o400] {
            assert_eq!(exposure(&TestFile::new(b"hunter2", mode).0), None);
        }
    }
}
