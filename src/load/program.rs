//! Room `load` (edge): whether there is a program to start.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for without `PATH` (execvp(3)).
const PATH: &str = "/bin:/usr/bin";

/// Where a program is: the path itself where it has a `/`, else the first match in `PATH`.
///
/// # Errors
///
/// What is wrong with it, and what to do.
pub fn find(program: &Path) -> Result<PathBuf, String> {
    find_in(program, env::var_os("PATH").as_deref().unwrap_or(OsStr::new(PATH)))
}

fn find_in(program: &Path, directories: &OsStr) -> Result<PathBuf, String> {
    let name = program.display();
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return match fs::metadata(program) {
            Err(error) => Err(format!("{name}: {error}; name a program that is there")),
            Ok(found) if !found.is_file() => Err(format!("{name} is not a file; name a program")),
            Ok(_) if is_executable(program) => Ok(program.to_owned()),
            Ok(_) => Err(format!("{name} may not be executed; make it executable (chmod +x)")),
        };
    }
    let mut places = env::split_paths(directories).map(|directory| directory.join(program));
    places.find(|place| is_executable(place)).ok_or_else(|| {
        format!("no program {name} is found in PATH; install it, or write where it is")
    })
}

fn is_executable(path: &Path) -> bool {
    let found = fs::metadata(path);
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_would_or_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            fs::write(place(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = env::join_paths([Path::new("/nowhere"), directory.path()]).unwrap();
        let find = |program: &Path| find_in(program, &path);
        assert_eq!(find(Path::new("tool")), Ok(place("tool")));
        assert_eq!(find(&place("tool")), Ok(place("tool")));
        for (program, words) in [
            (PathBuf::from("text"), "no program text is found in PATH"),
            (place("text"), "chmod +x"),
            (place("none"), "No such file"),
            (directory.path().to_owned(), "is not a file"),
        ] {
            let said = find(&program).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
