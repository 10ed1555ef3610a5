//! Where the value of `TICKET_KEYS` is stored: in a file, or only in the environment of this command.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hamro_shared::config::Env;

use super::steps::KeyList;

/// The rights of a new file.
const MODE: u32 = 0o600;

pub enum Store {
    File(KeyFile),
    /// `TICKET_KEYS` itself. An operator stores the next value.
    Environment(KeyList),
}

/// A file that nobody else changes with this command meanwhile.
pub struct KeyFile {
    path: PathBuf,
    /// Locked.
    directory: File,
}

impl Store {
    /// The file `--file`, or else that of `TICKET_KEYS_FILE`, or else the value of `TICKET_KEYS`.
    pub fn open(file: Option<&Path>, mut env: Env) -> anyhow::Result<Self> {
        if let Some(path) = file {
            return Ok(Self::File(KeyFile::open(path)?));
        }
        let path = env.variable("TICKET_KEYS_FILE", "", "a path").optional::<String>().flatten();
        let value = env.variable("TICKET_KEYS", "", "keys").optional::<String>().flatten();
        match (path, value) {
            (Some(path), None) => Ok(Self::File(KeyFile::open(Path::new(&path))?)),
            (None, Some(value)) => Ok(Self::Environment(KeyList::parse(&value).context("TICKET_KEYS")?)),
            (Some(_), Some(_)) => bail!("both TICKET_KEYS and TICKET_KEYS_FILE are set: remove one"),
            (None, None) => {
                bail!("name the file of the keys with --file, or set TICKET_KEYS_FILE or TICKET_KEYS")
            }
        }
    }

    pub fn read(&self) -> anyhow::Result<KeyList> {
        match self {
            Self::File(file) => file.read(),
            Self::Environment(keys) => Ok(keys.clone()),
        }
    }
}

impl KeyFile {
    /// Fails if another process changes a file in the same directory.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        // A link keeps its target.
        let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        let directory = path.parent().context("it is no file")?;
        let directory = File::open(directory).with_context(|| directory.display().to_string())?;
        match directory.try_lock() {
            Ok(()) => Ok(Self { path, directory }),
            Err(TryLockError::WouldBlock) => {
                bail!("another process changes a file in this directory: wait until it has ended")
            }
            Err(TryLockError::Error(error)) => Err(error).context("locking the directory of the file"),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> anyhow::Result<KeyList> {
        let text = fs::read_to_string(&self.path).with_context(|| self.path.display().to_string())?;
        KeyList::parse(&text).with_context(|| self.path.display().to_string())
    }

    /// Replaces the content. A crash leaves either the old or the new one. Owner, group and rights stay, because the programs
    /// may run as another user.
    pub fn replace(&self, keys: &KeyList) -> anyhow::Result<()> {
        self.write(keys).with_context(|| format!("{} was not changed", self.path.display()))
    }

    fn write(&self, keys: &KeyList) -> anyhow::Result<()> {
        let old = fs::metadata(&self.path)?;
        let name = self.path.file_name().context("it has no name")?;
        // In a directory of its own, so that nobody can have opened it.
        let temporary = self.path.with_file_name(format!(".{}.new", name.to_string_lossy()));
        remove_leftover(&temporary)?;
        DirBuilder::new().mode(0o700).create(&temporary)?;
        let written = Self::write_beside(&temporary.join("keys"), &old, keys)
            .and_then(|()| Ok(fs::rename(temporary.join("keys"), &self.path)?))
            .and_then(|()| Ok(self.directory.sync_all()?));
        // Without effect on the result: the next change removes a leftover.
        let _ = remove_leftover(&temporary);
        written
    }

    fn write_beside(path: &Path, old: &fs::Metadata, keys: &KeyList) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).context("keeping its owner")?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        writeln!(file, "{}", keys.secret())?;
        file.sync_all()?;
        ensure!(&KeyList::parse(&fs::read_to_string(path)?)? == keys, "the new content cannot be read again");
        Ok(())
    }
}

/// Removes what a change that was interrupted has left.
fn remove_leftover(temporary: &Path) -> anyhow::Result<()> {
    if temporary.exists() { Ok(fs::remove_dir_all(temporary)?) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hamro-keys-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn keys(digit: &str) -> KeyList {
        KeyList::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_change_keeps_the_rights_of_the_file_and_its_link() {
        let directory = directory("rights");
        let (file, link) = (directory.join("keys"), directory.join("link"));
        fs::write(&file, format!("{}\n", keys("a").secret())).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for mode in [0o600, 0o640] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let store = KeyFile::open(&link).unwrap();
            store.replace(&keys("b")).unwrap();
            assert_eq!(store.read().unwrap(), keys("b"));
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, mode);
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing else is left");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_change_that_was_interrupted_leaves_the_old_value_and_does_not_prevent_the_next() {
        let directory = directory("crash");
        let file = directory.join("keys");
        fs::write(&file, keys("a").secret()).unwrap();
        fs::create_dir(directory.join(".keys.new")).unwrap();
        fs::write(directory.join(".keys.new/keys"), "half a k").unwrap();
        let store = KeyFile::open(&file).unwrap();
        assert_eq!(store.read().unwrap(), keys("a"));
        store.replace(&keys("b")).unwrap();
        assert_eq!(store.read().unwrap(), keys("b"));
        assert!(!directory.join(".keys.new").exists());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn two_changes_at_once_are_refused() {
        let directory = directory("lock");
        let file = directory.join("keys");
        fs::write(&file, keys("a").secret()).unwrap();
        let first = KeyFile::open(&file).unwrap();
        assert!(KeyFile::open(&file).err().unwrap().to_string().contains("another process"));
        drop(first);
        KeyFile::open(&file).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_value_is_in_a_file_or_in_the_environment_and_not_in_both() {
        let key = "a".repeat(64);
        let store = |variables: &[(&str, &str)]| Store::open(None, Env::of(variables));
        assert!(matches!(store(&[("TICKET_KEYS", &key)]), Ok(Store::Environment(_))));
        for variables in [vec![], vec![("TICKET_KEYS", &*key), ("TICKET_KEYS_FILE", "/nowhere")]] {
            assert!(store(&variables).is_err(), "{variables:?}");
        }
    }
}
