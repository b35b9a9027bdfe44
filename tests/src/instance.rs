//! The settings of the program `instance`, which plays one of the manager's containers.
//!
//! Written by the harness and read by the program, both from here, so that they cannot disagree. They travel as
//! environment variables, because that is how a container is told anything; times are whole milliseconds.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::stub::Provider;

/// The line that the program prints as soon as it listens.
pub const LISTENS_LINE: &str = "server listens on port";
/// The line that it prints right after it has become ready, never before.
pub const READY_LINE: &str = "initialised successfully, the instance is ready";

/// The line that it prints when it has committed a column.
#[must_use]
pub fn saved_line(column: &str) -> String {
    format!("{column} saved")
}

/// How Telegram behaves towards the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telegram {
    /// It answers.
    Answers,
    /// It answers with an error.
    Fails,
    /// It does not answer.
    Hangs,
}

impl Telegram {
    /// The word for it in variables and calls.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Fails => "fails",
            Self::Hangs => "hangs",
        }
    }

    /// What a word means; `None` if it is none of these.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Answers, Self::Fails, Self::Hangs];
        all.into_iter().find(|one| one.word() == word)
    }
}

/// How it logs each request that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLog {
    /// Lines when it comes.
    pub before: u32,
    /// Lines right before its answer goes.
    pub with: u32,
    /// Lines after that …
    pub after: u32,
    /// … so much later.
    pub later: Duration,
    /// Whether these lines hold the path of the request.
    pub with_path: bool,
}

impl RequestLog {
    /// As the real one: a line when it comes, a line with status and time before the answer goes.
    pub const REAL: Self = Self {
        before: 1,
        with: 1,
        after: 0,
        later: Duration::ZERO,
        with_path: true,
    };

    fn to_text(self) -> String {
        let Self {
            before,
            with,
            after,
            later,
            with_path,
        } = self;
        format!("{before} {with} {after} {} {with_path}", later.as_millis())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next();
        Some(Self {
            before: word()?.parse().ok()?,
            with: word()?.parse().ok()?,
            after: word()?.parse().ok()?,
            later: Duration::from_millis(word()?.parse().ok()?),
            with_path: word()?.parse().ok()?,
        })
    }
}

/// What the program is told; the times are those of a real container on an idle machine, unless changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSettings {
    /// The instance, which is also its API key, as in reality.
    pub id: Uuid,
    /// Where its API listens, on every address of its network.
    pub port: u16,
    /// Decides path and words of its answers.
    pub provider: Provider,
    /// The watched table.
    pub table: String,
    /// Where it writes; without, it becomes ready all the same. `postgres://user@%2Ffolder:port/name` leads through a
    /// socket in a folder.
    pub database: Option<String>,
    /// The bot token: a secret, which it prints as the real one does.
    pub token: String,
    /// What it writes as `account`.
    pub account: String,
    /// Whether it writes `api_key`.
    pub writes_key: bool,
    /// Whether it writes `account`.
    pub writes_account: bool,
    /// From the start until `api_key` is written.
    pub key_after: Duration,
    /// From the start until it listens; not before `key_after`.
    pub listens_after: Duration,
    /// From then until it asks Telegram who it is.
    pub asks_after: Duration,
    /// How long Telegram takes to answer that.
    pub telegram_takes: Duration,
    /// What Telegram answers; anything but [`Telegram::Answers`] leaves it disconnected for ever.
    pub telegram: Telegram,
    /// From the commit of `account` until it is ready.
    pub ready_after_account: Duration,
    /// Writes `account` so long *after* it is ready, as in the recorded incident, instead of before.
    pub account_after_ready: Option<Duration>,
    /// From SIGTERM, when it stops listening, until it exits; what it was about to write is still written.
    pub exits_after: Duration,
    /// How it logs requests.
    pub requests: RequestLog,
    /// Counts the times above from this moment rather than from the start of the process.
    pub began: Option<DateTime<Utc>>,
}

impl InstanceSettings {
    /// A Telegram instance with a real one's times and no database.
    #[must_use]
    pub fn new(id: Uuid, port: u16) -> Self {
        Self {
            id,
            port,
            provider: Provider::Telegram,
            table: "public.message_instances".to_owned(),
            database: None,
            token: "123456789:a-secret-bot-token".to_owned(),
            account: "Name (@username)".to_owned(),
            writes_key: true,
            writes_account: true,
            key_after: Duration::from_millis(693),
            listens_after: Duration::from_millis(700),
            asks_after: Duration::from_secs(1),
            telegram_takes: Duration::from_millis(45),
            telegram: Telegram::Answers,
            ready_after_account: Duration::from_millis(4),
            account_after_ready: None,
            exits_after: Duration::ZERO,
            requests: RequestLog::REAL,
            began: None,
        }
    }

    /// All times are zero: it is ready as soon as it runs.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        for time in [
            &mut self.key_after,
            &mut self.listens_after,
            &mut self.asks_after,
            &mut self.telegram_takes,
            &mut self.ready_after_account,
        ] {
            *time = Duration::ZERO;
        }
        self
    }

    /// As environment variables.
    #[must_use]
    pub fn to_environment(&self) -> Vec<(&'static str, String)> {
        let millis = |time: Duration| time.as_millis().to_string();
        let mut all = vec![
            ("INSTANCE_ID", self.id.to_string()),
            ("INSTANCE_PORT", self.port.to_string()),
            ("INSTANCE_PROVIDER", self.provider.name().to_owned()),
            ("INSTANCE_TABLE", self.table.clone()),
            ("INSTANCE_TOKEN", self.token.clone()),
            ("INSTANCE_ACCOUNT", self.account.clone()),
            ("INSTANCE_WRITES_KEY", self.writes_key.to_string()),
            ("INSTANCE_WRITES_ACCOUNT", self.writes_account.to_string()),
            ("INSTANCE_KEY_AFTER", millis(self.key_after)),
            ("INSTANCE_LISTENS_AFTER", millis(self.listens_after)),
            ("INSTANCE_ASKS_AFTER", millis(self.asks_after)),
            ("INSTANCE_TELEGRAM_TAKES", millis(self.telegram_takes)),
            ("INSTANCE_TELEGRAM", self.telegram.word().to_owned()),
            (
                "INSTANCE_READY_AFTER_ACCOUNT",
                millis(self.ready_after_account),
            ),
            ("INSTANCE_EXITS_AFTER", millis(self.exits_after)),
            ("INSTANCE_REQUESTS", self.requests.to_text()),
        ];
        if let Some(time) = self.account_after_ready {
            all.push(("INSTANCE_ACCOUNT_AFTER_READY", millis(time)));
        }
        if let Some(began) = self.began {
            all.push(("INSTANCE_BEGAN", began.to_rfc3339()));
        }
        if let Some(database) = &self.database {
            all.push(("INSTANCE_DATABASE_URL", database.clone()));
        }
        all
    }

    /// From environment variables, by name; what is missing is as [`InstanceSettings::new`] has it.
    ///
    /// # Errors
    /// When a value cannot be read, or `INSTANCE_ID` or `INSTANCE_PORT` is missing; the value is not shown.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let all = Variables(variable);
        let id = all.parsed("INSTANCE_ID")?;
        let port = all.parsed("INSTANCE_PORT")?;
        let mut settings = Self::new(
            id.with_context(|| wrong("INSTANCE_ID"))?,
            port.with_context(|| wrong("INSTANCE_PORT"))?,
        );
        all.change("INSTANCE_TABLE", &mut settings.table)?;
        all.change("INSTANCE_TOKEN", &mut settings.token)?;
        all.change("INSTANCE_ACCOUNT", &mut settings.account)?;
        all.change("INSTANCE_WRITES_KEY", &mut settings.writes_key)?;
        all.change("INSTANCE_WRITES_ACCOUNT", &mut settings.writes_account)?;
        for (name, into) in [
            ("INSTANCE_KEY_AFTER", &mut settings.key_after),
            ("INSTANCE_LISTENS_AFTER", &mut settings.listens_after),
            ("INSTANCE_ASKS_AFTER", &mut settings.asks_after),
            ("INSTANCE_TELEGRAM_TAKES", &mut settings.telegram_takes),
            (
                "INSTANCE_READY_AFTER_ACCOUNT",
                &mut settings.ready_after_account,
            ),
            ("INSTANCE_EXITS_AFTER", &mut settings.exits_after),
        ] {
            *into = all.time(name)?.unwrap_or(*into);
        }
        settings.account_after_ready = all.time("INSTANCE_ACCOUNT_AFTER_READY")?;
        let provider = |name: &str| {
            let known = [Provider::Telegram, Provider::WhatsAppWeb];
            known.into_iter().find(|provider| provider.name() == name)
        };
        if let Some(provider) = all.read("INSTANCE_PROVIDER", provider)? {
            settings.provider = provider;
        }
        if let Some(telegram) = all.read("INSTANCE_TELEGRAM", Telegram::of_word)? {
            settings.telegram = telegram;
        }
        if let Some(requests) = all.read("INSTANCE_REQUESTS", RequestLog::parse)? {
            settings.requests = requests;
        }
        settings.database = all.given("INSTANCE_DATABASE_URL");
        let moment = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let began = all.read("INSTANCE_BEGAN", moment)?;
        settings.began = began.map(|began| began.with_timezone(&Utc));
        Ok(settings)
    }
}

/// The environment, in which an empty variable is as none. Its errors name a variable, and show no value.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn given(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A value as `read` understands it.
    fn read<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.given(name)
            .map(|value| read(&value).with_context(|| wrong(name)))
            .transpose()
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.read(name, |value| value.parse().ok())
    }

    /// Replaces what is there by what is given, if anything is.
    fn change<T: FromStr>(&self, name: &str, into: &mut T) -> Result<()> {
        if let Some(value) = self.parsed(name)? {
            *into = value;
        }
        Ok(())
    }

    fn time(&self, name: &str) -> Result<Option<Duration>> {
        Ok(self.parsed(name)?.map(Duration::from_millis))
    }
}

fn wrong(name: &str) -> String {
    format!("{name} is missing or cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_survives_the_environment() -> Result<()> {
        let mut settings = InstanceSettings::new(Uuid::new_v4(), 4711);
        let read = |settings: &InstanceSettings| {
            let all = settings.to_environment();
            InstanceSettings::from_environment(|name| {
                let found = all.iter().find(|(given, _)| *given == name);
                found.map(|(_, value)| value.clone())
            })
        };
        assert_eq!(read(&settings)?, settings);
        let times = [
            &mut settings.key_after,
            &mut settings.listens_after,
            &mut settings.asks_after,
            &mut settings.telegram_takes,
            &mut settings.ready_after_account,
            &mut settings.exits_after,
            settings.account_after_ready.insert(Duration::ZERO),
        ];
        for (millis, time) in (1..).zip(times) {
            *time = Duration::from_millis(millis);
        }
        settings.provider = Provider::WhatsAppWeb;
        settings.table = "a.b".to_owned();
        settings.token = "t".to_owned();
        settings.account = "a".to_owned();
        settings.writes_key = false;
        settings.writes_account = false;
        settings.telegram = Telegram::Hangs;
        settings.requests = RequestLog {
            before: 2,
            with: 3,
            after: 4,
            later: Duration::from_millis(5),
            with_path: false,
        };
        settings.database = Some("postgres://x".to_owned());
        settings.began = Some(DateTime::UNIX_EPOCH + Duration::from_micros(1_234_567));
        assert_eq!(read(&settings)?, settings);
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_shown() {
        let error = InstanceSettings::from_environment(|name| match name {
            "INSTANCE_ID" => Some(Uuid::nil().to_string()),
            "INSTANCE_PORT" => Some("a-secret".to_owned()),
            _ => None,
        });
        let error = format!("{:#}", error.expect_err("a port is a number"));
        assert!(error.contains("INSTANCE_PORT") && !error.contains("a-secret"));
    }
}
