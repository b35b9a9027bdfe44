//! What the command `watch` was told.

use postgres_url::Database;

use super::database::DatabaseSource;
use super::given::Given;
use super::{SettingsError, all};

/// How transitions are followed.
#[derive(Debug, Clone)]
pub(crate) struct WatchSettings {
    /// Where to listen, if elsewhere.
    pub(crate) listen: Option<Database>,
    /// Only this instance.
    pub(crate) instance: Option<uuid::Uuid>,
    /// How many earlier transitions come first.
    pub(crate) last: u32,
    /// One object a line.
    pub(crate) json: bool,
    /// Whether lines are coloured.
    pub(crate) color: Color,
}

/// Whether lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal that has them, unless `NO_COLOR` is set.
    Auto,
    /// Wherever they go.
    Always,
    /// Not on a terminal either.
    Never,
}

impl WatchSettings {
    pub(super) fn resolve(
        json: bool,
        given: &Given<'_>,
        database: &DatabaseSource<'_>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            listen: database.listen()?,
            instance: given.get(&all::INSTANCE)?,
            last: given.get(&all::LAST)?,
            json,
            color: given.get(&all::COLOR)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Command, Settings};

    fn parse(arguments: &[&str]) -> Result<WatchSettings, SettingsError> {
        let arguments = [&["auth-reconciler", "watch"], arguments].concat();
        let arguments = arguments.into_iter().map(Into::into);
        let url = |name: &str| (name == "DATABASE_URL").then(|| "postgres://a@b/c".into());
        let Command::Watch(watch) = Settings::parse(arguments, &url)?.command else {
            panic!("another command");
        };
        Ok(*watch)
    }

    #[test]
    fn what_it_is_told_and_what_it_does_not_accept() {
        let watch = parse(&[]).unwrap();
        assert!(watch.instance.is_none() && watch.last == 10 && !watch.json);
        assert_eq!(watch.color, Color::Auto);
        let id = uuid::Uuid::from_u128(7).to_string();
        let told = [
            "--instance",
            &id,
            "--last",
            "0",
            "--color",
            "never",
            "--json",
        ];
        let watch = parse(&told).unwrap();
        assert!(watch.instance == Some(uuid::Uuid::from_u128(7)) && watch.last == 0 && watch.json);
        assert_eq!(watch.color, Color::Never);
        for (wrong, accepted) in [
            (
                ["--instance", "7"],
                "a UUID as auth_reconciler.status shows it",
            ),
            (["--last", "1001"], "0 to 1000"),
            (["--color", "blue"], "auto, always or never"),
        ] {
            let error = parse(&wrong).unwrap_err().to_string();
            assert!(
                error.contains(wrong[0]) && error.contains(accepted),
                "{error}"
            );
        }
        assert!(
            parse(&["--table", "a.b"]).is_err(),
            "it concerns every table"
        );
    }
}
