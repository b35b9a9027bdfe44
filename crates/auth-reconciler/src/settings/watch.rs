//! What the command `watch` was told.

use postgres_url::Database;

use super::cli::WatchArgs;
use super::value::{self, Environment};
use super::{DatabaseSource, SettingsError, setting};

/// Most transitions that may be shown first; the command keeps at least as many in mind.
const MOST: u32 = 1000;

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
    /// Nowhere.
    Never,
}

impl WatchSettings {
    pub(super) fn resolve(
        args: &WatchArgs,
        source: &DatabaseSource,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let text = |setting, flag: &Option<String>| {
            value::text(setting, flag.as_deref(), environment).map(Option::unwrap_or_default)
        };
        let instance = text(setting::INSTANCE, &args.instance)?;
        let instance = match instance.trim() {
            "" => None,
            id => Some(uuid::Uuid::parse_str(id).map_err(|_| {
                let accepted =
                    "give the id of an instance, a UUID as auth_reconciler.status shows it";
                value::invalid(setting::INSTANCE, id, accepted)
            })?),
        };
        let last = text(setting::LAST, &args.last)?;
        let color = text(setting::COLOR, &args.color)?;
        Ok(Self {
            listen: source.listen(args.listen_url.as_deref(), environment)?,
            instance,
            last: value::count(setting::LAST, &last, 0..=MOST)?,
            json: args.json,
            color: match color.trim() {
                "auto" => Color::Auto,
                "always" => Color::Always,
                "never" => Color::Never,
                _ => {
                    let accepted = "give auto, always or never";
                    return Err(value::invalid(setting::COLOR, &color, accepted));
                }
            },
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
