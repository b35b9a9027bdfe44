//! The settings of the daemon, each read and within its range.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::cli::{MigrateArgs, RunArgs};
use super::docker::{Choice, DockerSettings};
use super::probe_url::{ProbeUrl, shown};
use super::setting::{self, Setting};
use super::value::{self, Environment};
use super::{Database, DatabaseSource, SettingsError};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// With the leap years' share, as `10y` is read.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Everything that the daemon can be told.
#[derive(Debug, Clone)]
pub(crate) struct RunSettings {
    /// Do the migration first.
    pub(crate) migrate: bool,
    /// Although a publication takes our tables in.
    pub(crate) into_publication: bool,
    /// Where the ear connects, if elsewhere than the pool.
    pub(crate) listen: Option<Database>,
    /// What is known of containers.
    pub(crate) docker: DockerSettings,
    /// How instances are probed.
    pub(crate) probe: ProbeSettings,
    /// Pool connections.
    pub(crate) pool_size: usize,
    /// Time between two echoes on the ear.
    pub(crate) echo_interval: Duration,
    /// Longest time for an echo.
    pub(crate) echo_timeout: Duration,
    /// When an instance is looked at, and what that means.
    pub(crate) verdict: VerdictSettings,
    /// Transitions kept per instance.
    pub(crate) history_per_instance: u32,
    /// Age at which transitions go.
    pub(crate) history_max_age: Duration,
    /// Longest time for work in flight at the end.
    pub(crate) shutdown_timeout: Duration,
}

/// How an instance is probed.
#[derive(Debug, Clone)]
pub(crate) struct ProbeSettings {
    /// Where.
    pub(crate) url: ProbeUrl,
    /// Longest time for the whole.
    pub(crate) timeout: Duration,
    /// Longest time for the connect.
    pub(crate) connect_timeout: Duration,
    /// Probes at a time.
    pub(crate) concurrency: usize,
}

/// When an instance is looked at, and what that means.
#[derive(Debug, Clone)]
pub(crate) struct VerdictSettings {
    /// First pause of the backoff.
    pub(crate) backoff_min: Duration,
    /// Longest pause of the backoff.
    pub(crate) backoff_max: Duration,
    /// How long an instance may wait or start without being in trouble.
    pub(crate) awaiting_grace: Duration,
    /// How long "not connected" may last.
    pub(crate) not_connected_limit: Duration,
    /// The same for WhatsApp.
    pub(crate) whatsapp_not_connected_limit: Duration,
    /// Misses in a row that make a failure,
    pub(crate) misses: u32,
    /// if they span this time.
    pub(crate) miss_window: Duration,
    /// How long a doubt lasts before silence is believed without a witness; `None` is for ever.
    pub(crate) believe_silence_after: Option<Duration>,
    /// Corrections of foreign writes per instance and minute.
    pub(crate) corrections_per_minute: u32,
    /// Looks at one instance that may follow each other freely.
    pub(crate) look_burst: u32,
    /// After those, one more look per this time.
    pub(crate) look_interval: Duration,
}

/// Whether our tables may be made although a publication takes them in.
pub(super) fn into_publication(
    args: &MigrateArgs,
    environment: Environment<'_>,
) -> Result<bool, SettingsError> {
    let read = Reader { environment };
    Ok(args.into_publication || read.switch(setting::INTO_PUBLICATION)?)
}

impl RunSettings {
    /// Reads all of them.
    pub(crate) fn resolve(
        args: &RunArgs,
        database: &DatabaseSource,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let read = Reader { environment };
        let docker = DockerSettings::resolve(args, &read)?;
        let probe = ProbeSettings::resolve(args, &read)?;
        if probe.url.needs_container() && docker.engine == Choice::Off {
            return Err(value::invalid(
                setting::PROBE_URL,
                &probe.url.to_string(),
                format!(
                    "{{container_ip}} is known to the engine alone, and {} is off",
                    setting::DOCKER
                ),
            ));
        }
        Ok(Self {
            migrate: args.migrate || read.switch(setting::MIGRATE)?,
            into_publication: into_publication(&args.migration, environment)?,
            listen: database.listen(args.listen_url.as_deref(), environment)?,
            docker,
            probe,
            pool_size: read.count(setting::POOL_SIZE, &args.pool_size, 1..=256)? as usize,
            echo_interval: read.duration(
                setting::ECHO_INTERVAL,
                &args.echo_interval,
                100 * MILLISECOND..=HOUR,
            )?,
            echo_timeout: read.duration(
                setting::ECHO_TIMEOUT,
                &args.echo_timeout,
                100 * MILLISECOND..=5 * MINUTE,
            )?,
            verdict: VerdictSettings::resolve(args, &read)?,
            history_per_instance: read.count(
                setting::HISTORY_PER_INSTANCE,
                &args.history_per_instance,
                1..=100_000,
            )?,
            history_max_age: read.duration(
                setting::HISTORY_MAX_AGE,
                &args.history_max_age,
                MINUTE..=10 * YEAR,
            )?,
            shutdown_timeout: read.duration(
                setting::SHUTDOWN_TIMEOUT,
                &args.shutdown_timeout,
                100 * MILLISECOND..=10 * MINUTE,
            )?,
        })
    }
}

impl ProbeSettings {
    fn resolve(args: &RunArgs, read: &Reader<'_>) -> Result<Self, SettingsError> {
        let url = read.text(setting::PROBE_URL, args.probe_url.as_deref())?;
        let url = ProbeUrl::parse(&url).map_err(|source| SettingsError::ProbeUrl {
            setting: setting::PROBE_URL,
            value: shown(&url),
            source,
        })?;
        let timeout = read.duration(
            setting::PROBE_TIMEOUT,
            &args.probe_timeout,
            100 * MILLISECOND..=5 * MINUTE,
        )?;
        let connect_timeout = read.duration(
            setting::PROBE_CONNECT_TIMEOUT,
            &args.probe_connect_timeout,
            10 * MILLISECOND..=MINUTE,
        )?;
        in_order(
            (setting::PROBE_CONNECT_TIMEOUT, connect_timeout),
            (setting::PROBE_TIMEOUT, timeout),
        )?;
        let concurrency = read.count(
            setting::PROBE_CONCURRENCY,
            &args.probe_concurrency,
            1..=4096,
        )? as usize;
        Ok(Self {
            url,
            timeout,
            connect_timeout,
            concurrency,
        })
    }
}

impl VerdictSettings {
    fn resolve(args: &RunArgs, read: &Reader<'_>) -> Result<Self, SettingsError> {
        let backoff_min =
            read.duration(setting::BACKOFF_MIN, &args.backoff_min, MILLISECOND..=HOUR)?;
        let backoff_max =
            read.duration(setting::BACKOFF_MAX, &args.backoff_max, MILLISECOND..=HOUR)?;
        in_order(
            (setting::BACKOFF_MIN, backoff_min),
            (setting::BACKOFF_MAX, backoff_max),
        )?;
        Ok(Self {
            backoff_min,
            backoff_max,
            awaiting_grace: read.duration(
                setting::AWAITING_GRACE,
                &args.awaiting_grace,
                MILLISECOND..=DAY,
            )?,
            not_connected_limit: read.duration(
                setting::NOT_CONNECTED_LIMIT,
                &args.not_connected_limit,
                MILLISECOND..=DAY,
            )?,
            whatsapp_not_connected_limit: read.duration(
                setting::WHATSAPP_NOT_CONNECTED_LIMIT,
                &args.whatsapp_not_connected_limit,
                MILLISECOND..=DAY,
            )?,
            misses: read.count(setting::MISSES, &args.misses, 1..=100)?,
            miss_window: read.duration(
                setting::MISS_WINDOW,
                &args.miss_window,
                MILLISECOND..=HOUR,
            )?,
            believe_silence_after: read.duration_or_off(
                setting::BELIEVE_SILENCE_AFTER,
                &args.believe_silence_after,
                1000 * MILLISECOND..=30 * DAY,
            )?,
            corrections_per_minute: read.count(
                setting::CORRECTIONS_PER_MINUTE,
                &args.corrections_per_minute,
                1..=600,
            )?,
            look_burst: read.count(setting::LOOK_BURST, &args.look_burst, 1..=10_000)?,
            look_interval: read.duration(
                setting::LOOK_INTERVAL,
                &args.look_interval,
                MILLISECOND..=HOUR,
            )?,
        })
    }
}

/// Looks up and reads in one step.
pub(super) struct Reader<'a> {
    environment: Environment<'a>,
}

impl Reader<'_> {
    pub(super) fn text(
        &self,
        setting: &'static Setting,
        flag: Option<&str>,
    ) -> Result<String, SettingsError> {
        Ok(value::text(setting, flag, self.environment)?.unwrap_or_default())
    }

    /// A variable that is not ours, if it is set and text.
    pub(super) fn foreign(&self, name: &str) -> Option<String> {
        let value = (self.environment)(name)?.into_string().ok()?;
        Some(value).filter(|value| !value.trim().is_empty())
    }

    fn duration(
        &self,
        setting: &'static Setting,
        flag: &Option<String>,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, SettingsError> {
        value::duration(setting, &self.text(setting, flag.as_deref())?, range)
    }

    fn duration_or_off(
        &self,
        setting: &'static Setting,
        flag: &Option<String>,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, SettingsError> {
        value::duration_or_off(setting, &self.text(setting, flag.as_deref())?, range)
    }

    pub(super) fn count(
        &self,
        setting: &'static Setting,
        flag: &Option<String>,
        range: RangeInclusive<u32>,
    ) -> Result<u32, SettingsError> {
        value::count(setting, &self.text(setting, flag.as_deref())?, range)
    }

    fn switch(&self, setting: &'static Setting) -> Result<bool, SettingsError> {
        let text = self.text(setting, None)?;
        value::switch(&text).ok_or_else(|| value::invalid(setting, &text, "give true or false"))
    }
}

fn in_order(
    (lower, low): (&'static Setting, Duration),
    (upper, high): (&'static Setting, Duration),
) -> Result<(), SettingsError> {
    if low <= high {
        Ok(())
    } else {
        Err(SettingsError::Order {
            lower,
            low,
            upper,
            high,
        })
    }
}
