//! Completions for shells and manual pages, both made of the command line itself, so they know what it knows.

use std::io::{self, Write};
use std::path::PathBuf;

use clap_complete::Shell;

use super::cli::{self, PagesArgs};

/// What is to be written about the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Completions for this shell, to standard output.
    Completions(Shell),
    /// Manual pages, one a command, into this folder.
    Manual(PathBuf),
}

impl From<PagesArgs> for Pages {
    fn from(args: PagesArgs) -> Self {
        match args {
            PagesArgs::Completions { shell } => Self::Completions(shell),
            PagesArgs::Man { folder } => Self::Manual(folder),
        }
    }
}

impl Pages {
    /// Writes them.
    ///
    /// # Errors
    /// Standard output, or a file, cannot be written.
    pub(crate) fn write(&self) -> io::Result<()> {
        let mut command = cli::command();
        match self {
            Self::Completions(shell) => {
                let name = command.get_name().to_owned();
                let mut text = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut text);
                let mut out = io::stdout().lock();
                out.write_all(&text)?;
                out.flush()
            }
            Self::Manual(folder) => clap_mangen::generate_to(command, folder),
        }
    }
}
