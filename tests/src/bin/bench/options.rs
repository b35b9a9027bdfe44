//! What was asked for, and how much of everything that means.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::pgbench::Length;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Reaction,
    Burst,
    Beside,
    Memory,
    Manager,
    Statement,
    History,
}

const ALL: [Part; 7] = [
    Part::Reaction,
    Part::Burst,
    Part::Beside,
    Part::Memory,
    Part::Manager,
    Part::Statement,
    Part::History,
];

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reaction => "reaction",
            Self::Burst => "burst",
            Self::Beside => "beside",
            Self::Memory => "memory",
            Self::Manager => "manager",
            Self::Statement => "statement",
            Self::History => "history",
        }
    }
}

/// How much of everything.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    /// Stub APIs; a connection to one is closed before its turn comes again, as those of many instances would be.
    pub(crate) stubs: usize,
    /// Blocks of each side in a round, and single changes in each block.
    pub(crate) blocks: usize,
    pub(crate) samples: usize,
    pub(crate) burst: usize,
    /// Most single changes beside one burst, and the pause between two.
    pub(crate) singles: usize,
    pub(crate) gap: Duration,
    /// Sizes of the watched table at which memory is read.
    pub(crate) tables: Vec<usize>,
    /// How long the processing of a change of all rows is watched.
    pub(crate) watched: Duration,
    /// Rows of the table that pgbench writes to.
    pub(crate) pgbench_rows: usize,
    pub(crate) length: Length,
    pub(crate) clients: Vec<usize>,
    /// Rows that one statement changes.
    pub(crate) statements: Vec<usize>,
    pub(crate) journal: usize,
    pub(crate) transitions: usize,
    /// The limit of each wait for work to be done.
    pub(crate) limit: Duration,
}

impl Sizes {
    fn full() -> Self {
        Self {
            rounds: 5,
            stubs: 500,
            blocks: 4,
            samples: 25,
            burst: 10_000,
            singles: 100,
            gap: Duration::from_millis(40),
            tables: vec![1_000, 100_000],
            watched: Duration::from_secs(20),
            pgbench_rows: 100_000,
            length: Length::Seconds(2),
            clients: vec![1, 8, 32],
            statements: vec![20_000, 100_000],
            journal: 1_000_000,
            transitions: 500_000,
            limit: Duration::from_secs(600),
        }
    }

    /// A few of everything: whether it works, not how fast.
    fn smoke() -> Self {
        Self {
            rounds: 1,
            stubs: 4,
            blocks: 1,
            samples: 3,
            burst: 20,
            singles: 3,
            gap: Duration::from_millis(5),
            tables: vec![50],
            watched: Duration::from_secs(1),
            pgbench_rows: 100,
            length: Length::Transactions(10),
            clients: vec![2],
            statements: vec![50],
            journal: 200,
            transitions: 100,
            limit: Duration::from_secs(60),
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) sizes: Sizes,
    /// A few of everything.
    pub(crate) smoke: bool,
    /// Show which statements took the time.
    pub(crate) profile: bool,
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: Vec<String>) -> Result<Self> {
        let smoke = arguments.iter().any(|word| word == "--smoke");
        let mut options = Self {
            parts: Vec::new(),
            sizes: if smoke { Sizes::smoke() } else { Sizes::full() },
            smoke,
            profile: false,
            json: None,
        };
        let mut words = arguments.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--smoke" => {}
                "--million" => options.sizes.tables.push(1_000_000),
                "--profile" => options.profile = true,
                "--json" => {
                    options.json = Some(words.next().context("--json needs a file")?.into())
                }
                "--rounds" => {
                    let rounds = words.next().context("--rounds needs a number")?;
                    options.sizes.rounds = rounds.parse().context("--rounds needs a number")?;
                    ensure!(options.sizes.rounds > 0, "--rounds needs one at least");
                }
                "cpu" => options.add(&[Part::Reaction, Part::Burst]),
                name => match ALL.into_iter().find(|part| part.name() == name) {
                    Some(part) => options.add(&[part]),
                    None => bail!("`{name}` is neither an option nor a part: {}", names()),
                },
            }
        }
        if options.parts.is_empty() {
            options.parts.extend(ALL);
        }
        Ok(options)
    }

    fn add(&mut self, parts: &[Part]) {
        for part in parts {
            if !self.parts.contains(part) {
                self.parts.push(*part);
            }
        }
    }
}

fn names() -> String {
    let names: Vec<&str> = ALL.into_iter().map(Part::name).collect();
    format!("{}, cpu", names.join(", "))
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{ALL, Options, Part};

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn parts_are_chosen_by_name_and_all_without_one() -> Result<()> {
        assert_eq!(parse(&[])?.parts, ALL);
        assert_eq!(parse(&["memory", "--million"])?.parts, [Part::Memory]);
        let cpu = parse(&["burst", "cpu"])?.parts;
        assert_eq!(cpu, [Part::Burst, Part::Reaction], "each of them once");
        assert!(parse(&["memroy"]).is_err());
        assert!(parse(&["--rounds", "0"]).is_err());
        Ok(())
    }
}
