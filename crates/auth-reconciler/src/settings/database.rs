//! The manager's database, as the operator named it: by a URL, or in parts.

use postgres_url::{Database, Defaults, Names, SettingNames};

use super::given::Given;
use super::setting::{Of, Setting};
use super::{SettingsError, all};

/// Reads database URLs, with what the separate settings lend to each.
pub(super) struct DatabaseSource<'a> {
    given: &'a Given<'a>,
    defaults: Defaults,
}

impl<'a> DatabaseSource<'a> {
    pub(super) fn new(given: &'a Given<'a>) -> Result<Self, SettingsError> {
        let defaults = Defaults {
            mode: given.maybe(&all::DATABASE_SSL)?,
            ca: given.maybe(&all::DATABASE_CA)?,
            password: given.maybe(&all::DATABASE_PASSWORD)?,
            settings: SettingNames {
                ca: "--database-ca (DATABASE_SSL_CA)",
                password: all::DATABASE_PASSWORD.setting.env,
            },
        };
        Ok(Self { given, defaults })
    }

    /// The manager's database.
    pub(super) fn database(&self) -> Result<Database, SettingsError> {
        let given = self.given;
        if let Some(database) = self.at(&all::DATABASE_URL)? {
            return Ok(database);
        }
        let user = given.maybe(&all::DATABASE_USER)?.or_else(|| {
            // What the manager's driver takes. Where nothing is named at all, no database is meant.
            let names = [&all::DATABASE_HOST.setting, &all::DATABASE_NAME.setting];
            let named = names.into_iter().any(|name| given.is_given(name));
            named.then(|| "postgres".to_owned())
        });
        let names = Names {
            user: user.ok_or(SettingsError::NoDatabase)?,
            host: given.get(&all::DATABASE_HOST)?,
            port: given.get(&all::DATABASE_PORT)?,
            name: given.maybe(&all::DATABASE_NAME)?,
        };
        Database::from_names(names, &self.defaults)
            .map_err(|source| unusable(&all::DATABASE_HOST, source))
    }

    /// Where to listen, if elsewhere.
    pub(super) fn listen(&self) -> Result<Option<Database>, SettingsError> {
        self.at(&all::LISTEN_URL)
    }

    fn at(&self, of: &'static Of<String>) -> Result<Option<Database>, SettingsError> {
        let url = self.given.maybe(of)?;
        url.map(|url| Database::from_url(&url, &self.defaults))
            .transpose()
            .map_err(|source| unusable(of, source))
    }
}

fn unusable(setting: &'static Setting, source: postgres_url::DatabaseError) -> SettingsError {
    SettingsError::Database { setting, source }
}
