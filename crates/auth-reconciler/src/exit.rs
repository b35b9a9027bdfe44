//! What the exit code tells whoever started the program. The table in `--help` is made from this one, and so is
//! the one in `deploy/README.md`.

use std::process::ExitCode;

/// How a command ended. Each code means the same in every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing needs a person.
    Well = 0,
    /// Something is wrong, and what was printed says what.
    Trouble = 1,
    /// The command line or a setting is wrong, so nothing was tried.
    Settings = 2,
    /// Nothing is known: the question was not answered, or the answer did not reach whoever asked.
    Unanswered = 3,
    /// No daemon keeps the statuses true, so those that are shown may be out of date.
    NobodyLeads = 4,
}

impl Exit {
    /// Every code, in its order.
    const ALL: [Self; 5] = [
        Self::Well,
        Self::Trouble,
        Self::Settings,
        Self::Unanswered,
        Self::NobodyLeads,
    ];

    /// The number.
    const fn code(self) -> u8 {
        self as u8
    }

    /// What it says to an operator.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Well => "all is well, or what was asked for is done",
            Self::Trouble => {
                "an instance or something else is in trouble, or what was asked for could not be done; what is \
                 printed says why"
            }
            Self::Settings => "the command line or a setting cannot be used",
            Self::Unanswered => {
                "nothing is known: PostgreSQL could not be asked or did not answer the question, or standard output \
                 could not be written"
            }
            Self::NobodyLeads => "no daemon leads, so no status is kept true",
        }
    }

    /// The table as `--help` shows it.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:");
        for exit in Self::ALL {
            text.push_str(&format!("\n  {}  {}", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    const DOCUMENT: &str = include_str!("../../../deploy/README.md");

    #[test]
    fn the_document_says_of_each_code_what_the_help_says_and_names_no_other() {
        let told: Vec<&str> = DOCUMENT
            .lines()
            .skip_while(|line| *line != "## Exit codes")
            .skip_while(|line| !line.starts_with("| --- |"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let meant = Exit::ALL.map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()));
        assert!(
            told == meant,
            "the table of exit codes in deploy/README.md should be:\n{}",
            meant.join("\n")
        );
    }
}
