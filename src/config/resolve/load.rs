//! Room `config` (wiring): the load generator of somebody else's.

use std::path::PathBuf;

use super::super::keys::{self as all, load as keys};
use super::{Reader, View};
use crate::{host, load};

impl Reader<'_> {
    /// Reads `load`.
    pub(super) fn load(&mut self, view: &View<'_>) -> Option<load::Config> {
        let command = view.get(&keys::COMMAND, self.problems);
        let name = view.get(&keys::LOAD_NAME, self.problems);
        let start = view.get(&keys::START, self.problems);
        let restart = view.get(&keys::RESTART, self.problems);
        let mut words = command?.into_iter();
        let program = words.next()?;
        let program =
            if program.contains('/') { self.base.join(program) } else { PathBuf::from(program) };
        let (name, start, restart) = (name?, start?, restart?);
        Some(load::Config { name, program, arguments: words.collect(), start, restart })
    }

    /// The processes of the load are watched under a label that no others may have.
    pub(super) fn check_label(
        &mut self,
        root: &View<'_>,
        load: Option<&load::Config>,
        host: Option<&host::Config>,
    ) {
        let Some((_, host)) = load.zip(host) else { return };
        let label = keys::LOAD.name;
        if host.processes.iter().any(|process| process.to_string() == label)
            && let Some(view) = root.section(&all::HOST)
        {
            let what = format!(
                "{label} is what the processes of the load are called; name them otherwise, or remove \
                 {label}"
            );
            let origin = view.origin_of(&all::PROCESSES);
            self.problems.add(origin, &view.path_of(&all::PROCESSES), what);
        }
    }
}
