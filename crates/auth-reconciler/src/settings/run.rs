//! The settings of the daemon, as those who work with them take them.

use std::time::Duration;

use auth_reconciler_core::backoff::Backoff;
use auth_reconciler_core::queue;
use auth_reconciler_core::verdict::Policy;
use postgres_url::Database;

use super::database::DatabaseSource;
use super::docker::{Choice, DockerSettings};
use super::given::Given;
use super::setting::Setting;
use super::{SettingsError, all, value};
use crate::postgres::record::RecordSettings;
use crate::probe::Prober;

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
    pub(crate) prober: Prober,
    /// Pool connections.
    pub(crate) pool_size: usize,
    /// Time between two echoes on the ear.
    pub(crate) echo_interval: Duration,
    /// Longest time for an echo.
    pub(crate) echo_timeout: Duration,
    /// What an answer means, and when an instance is looked at again.
    pub(crate) policy: Policy,
    /// How many looks there are at a time, and how often at one instance.
    pub(crate) limits: queue::Limits,
    /// How much is kept of what was recorded.
    pub(crate) record: RecordSettings,
    /// Longest time for work in flight at the end.
    pub(crate) shutdown_timeout: Duration,
}

impl RunSettings {
    pub(super) fn resolve(
        given: &Given<'_>,
        database: &DatabaseSource<'_>,
    ) -> Result<Self, SettingsError> {
        let docker = DockerSettings::resolve(given)?;
        let prober = prober(given)?;
        if prober.url.needs_container() && docker.engine == Choice::Off {
            return Err(value::invalid(
                &all::PROBE_URL,
                &prober.url.to_string(),
                format!(
                    "{{container_ip}} is known to the engine alone, and {} is off",
                    all::DOCKER.setting
                ),
            ));
        }
        let policy = policy(given)?;
        Ok(Self {
            migrate: given.get(&all::MIGRATE)?,
            into_publication: given.get(&all::INTO_PUBLICATION)?,
            listen: database.listen()?,
            docker,
            prober,
            pool_size: given.get(&all::POOL_SIZE)? as usize,
            echo_interval: given.get(&all::ECHO_INTERVAL)?,
            echo_timeout: given.get(&all::ECHO_TIMEOUT)?,
            policy,
            limits: queue::Limits::with_slots(
                given.get(&all::PROBE_CONCURRENCY)? as usize,
                given.get(&all::LOOK_BURST)?,
                given.get(&all::LOOK_INTERVAL)?,
            ),
            record: RecordSettings {
                history_per_instance: given.get(&all::HISTORY_PER_INSTANCE)?,
                history_max_age_ms: milliseconds(given.get(&all::HISTORY_MAX_AGE)?),
                overridden_retry_ms: milliseconds(policy.backoff.max),
            },
            shutdown_timeout: given.get(&all::SHUTDOWN_TIMEOUT)?,
        })
    }
}

fn prober(given: &Given<'_>) -> Result<Prober, SettingsError> {
    let prober = Prober {
        url: given.get(&all::PROBE_URL)?,
        limit: given.get(&all::PROBE_TIMEOUT)?,
        connect_limit: given.get(&all::PROBE_CONNECT_TIMEOUT)?,
    };
    in_order(
        (&all::PROBE_CONNECT_TIMEOUT, prober.connect_limit),
        (&all::PROBE_TIMEOUT, prober.limit),
    )?;
    Ok(prober)
}

fn policy(given: &Given<'_>) -> Result<Policy, SettingsError> {
    let backoff = Backoff {
        min: given.get(&all::BACKOFF_MIN)?,
        max: given.get(&all::BACKOFF_MAX)?,
    };
    in_order(
        (&all::BACKOFF_MIN, backoff.min),
        (&all::BACKOFF_MAX, backoff.max),
    )?;
    Ok(Policy {
        backoff,
        grace: given.get(&all::AWAITING_GRACE)?,
        not_connected_limit: given.get(&all::NOT_CONNECTED_LIMIT)?,
        phone_limit: given.get(&all::WHATSAPP_NOT_CONNECTED_LIMIT)?,
        misses: given.get(&all::MISSES)?,
        miss_window: given.get(&all::MISS_WINDOW)?,
        corrections: given.get(&all::CORRECTIONS_PER_MINUTE)?,
        believe_silence_after: given.get(&all::BELIEVE_SILENCE_AFTER)?,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
