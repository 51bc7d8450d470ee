//! Room `app`: a file that is written whole or stays as it was.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is to be written. What was there stays until all of it is written; whoever has it open
/// keeps the old one.
pub(super) struct Draft {
    /// Where it is to be, links followed.
    file: PathBuf,
    /// Where it is written; a pipe or a device, which has nothing to lose, is written itself.
    beside: Option<PathBuf>,
}

impl Draft {
    /// Makes sure that the file can be written, and leaves it as it is.
    ///
    /// # Errors
    ///
    /// When it can't.
    pub(super) fn of(file: &Path) -> io::Result<Self> {
        match fs::metadata(file) {
            Ok(it) if it.is_file() || it.is_dir() => {
                OpenOptions::new().write(true).open(file)?;
            }
            Ok(_) => return Ok(Self { file: file.to_owned(), beside: None }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => (),
        }
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let beside = file.with_file_name(name);
        fs::write(&beside, "")?;
        Ok(Self { file, beside: Some(beside) })
    }

    /// Writes it, with a line feed behind.
    ///
    /// # Errors
    ///
    /// When it can't be written; what was there is still there then.
    pub(super) fn finish(mut self, text: &str) -> io::Result<()> {
        fs::write(self.beside.as_ref().unwrap_or(&self.file), format!("{text}\n"))?;
        match &self.beside {
            Some(beside) => fs::rename(beside, &self.file)?,
            None => return Ok(()),
        }
        self.beside = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // What can't be removed does no harm.
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_until_all_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a.json"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let count = || fs::read_dir(directory.path()).unwrap().count();
        let draft = Draft::of(&link).unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), count()), ("old", 3));
        drop(draft);
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), count()), ("old", 2));
        Draft::of(&link).unwrap().finish("new").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), count()), ("new\n", 2));
        assert!(link.is_symlink());
        Draft::of(&directory.path().join("b.json")).unwrap().finish("b").unwrap();
        assert_eq!(count(), 3);
    }

    #[test]
    fn what_can_t_be_written_is_refused_before() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Draft::of(directory.path()).is_err());
        assert!(Draft::of(&directory.path().join("no/such/directory")).is_err());
        Draft::of(Path::new("/dev/null")).unwrap().finish("gone").unwrap();
    }
}
