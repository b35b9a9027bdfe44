//! The list of settings: what each is called as a flag and in the environment, and its default.
//!
//! One table, because three places must agree on it: the help text, the look-up and every error message.

use std::fmt;

/// One setting and its two names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The long flag, without its dashes.
    pub(crate) flag: &'static str,
    /// The environment variable.
    pub(crate) env: &'static str,
    /// What holds when neither is given, as a person would write it.
    pub(crate) default: Option<&'static str>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} ({})", self.flag, self.env)
    }
}

/// Declares each setting as a constant of its own, and [`ALL`] of them.
macro_rules! settings {
    ($($name:ident = $flag:literal, $env:literal, $default:expr;)+) => {
        $(pub(crate) const $name: &Setting = &Setting { flag: $flag, env: $env, default: $default };)+
        /// Every setting that can be given by flag or environment.
        pub(crate) const ALL: &[&Setting] = &[$($name),+];
    };
}

settings! {
    DATABASE_URL = "database-url", "DATABASE_URL", None;
    DATABASE_HOST = "database-host", "DATABASE_HOST", Some("localhost");
    DATABASE_PORT = "database-port", "DATABASE_PORT", Some("5432");
    DATABASE_NAME = "database-name", "DATABASE_NAME", None;
    DATABASE_USER = "database-user", "DATABASE_USER", None;
    DATABASE_PASSWORD = "database-password", "DATABASE_PASSWORD", None;
    DATABASE_SSL = "database-ssl", "DATABASE_SSL", None;
    DATABASE_CA = "database-ca", "DATABASE_SSL_CA", None;
    TABLE = "table", "AUTH_RECONCILER_TABLE", Some("public.message_instances");
    LOG_FORMAT = "log-format", "AUTH_RECONCILER_LOG_FORMAT", Some("human");
    MIGRATE = "migrate", "AUTH_RECONCILER_MIGRATE", Some("false");
    INTO_PUBLICATION = "into-publication", "AUTH_RECONCILER_INTO_PUBLICATION", Some("false");
    LISTEN_URL = "listen-url", "AUTH_RECONCILER_LISTEN_URL", None;
    DOCKER = "docker", "AUTH_RECONCILER_DOCKER", Some("auto");
    DOCKER_CERTS = "docker-certs", "AUTH_RECONCILER_DOCKER_CERTS", None;
    DOCKER_LABEL_ID = "docker-label-id", "AUTH_RECONCILER_DOCKER_LABEL_ID", Some("wweb.instance.id");
    DOCKER_LABEL_TYPE = "docker-label-type", "AUTH_RECONCILER_DOCKER_LABEL_TYPE", Some("wweb.instance.type");
    FOLLOWERS = "followers", "AUTH_RECONCILER_FOLLOWERS", Some("64");
    PROBE_URL = "probe-url", "AUTH_RECONCILER_PROBE_URL", Some("http://127.0.0.1:{port}");
    PROBE_TIMEOUT = "probe-timeout", "AUTH_RECONCILER_PROBE_TIMEOUT", Some("5s");
    PROBE_CONNECT_TIMEOUT = "probe-connect-timeout", "AUTH_RECONCILER_PROBE_CONNECT_TIMEOUT", Some("200ms");
    PROBE_CONCURRENCY = "probe-concurrency", "AUTH_RECONCILER_PROBE_CONCURRENCY", Some("64");
    POOL_SIZE = "pool-size", "AUTH_RECONCILER_POOL_SIZE", Some("8");
    ECHO_INTERVAL = "echo-interval", "AUTH_RECONCILER_ECHO_INTERVAL", Some("20s");
    ECHO_TIMEOUT = "echo-timeout", "AUTH_RECONCILER_ECHO_TIMEOUT", Some("5s");
    BACKOFF_MIN = "backoff-min", "AUTH_RECONCILER_BACKOFF_MIN", Some("50ms");
    BACKOFF_MAX = "backoff-max", "AUTH_RECONCILER_BACKOFF_MAX", Some("60s");
    AWAITING_GRACE = "awaiting-grace", "AUTH_RECONCILER_AWAITING_GRACE", Some("30s");
    NOT_CONNECTED_LIMIT = "not-connected-limit", "AUTH_RECONCILER_NOT_CONNECTED_LIMIT", Some("30s");
    WHATSAPP_NOT_CONNECTED_LIMIT = "whatsapp-not-connected-limit", "AUTH_RECONCILER_WHATSAPP_NOT_CONNECTED_LIMIT", Some("10m");
    MISSES = "misses", "AUTH_RECONCILER_MISSES", Some("3");
    MISS_WINDOW = "miss-window", "AUTH_RECONCILER_MISS_WINDOW", Some("10s");
    BELIEVE_SILENCE_AFTER = "believe-silence-after", "AUTH_RECONCILER_BELIEVE_SILENCE_AFTER", Some("off");
    CORRECTIONS_PER_MINUTE = "corrections-per-minute", "AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", Some("10");
    LOOK_BURST = "look-burst", "AUTH_RECONCILER_LOOK_BURST", Some("60");
    LOOK_INTERVAL = "look-interval", "AUTH_RECONCILER_LOOK_INTERVAL", Some("500ms");
    HISTORY_PER_INSTANCE = "history-per-instance", "AUTH_RECONCILER_HISTORY_PER_INSTANCE", Some("200");
    HISTORY_MAX_AGE = "history-max-age", "AUTH_RECONCILER_HISTORY_MAX_AGE", Some("30d");
    INSTANCE = "instance", "AUTH_RECONCILER_INSTANCE", None;
    LAST = "last", "AUTH_RECONCILER_LAST", Some("10");
    COLOR = "color", "AUTH_RECONCILER_COLOR", Some("auto");
    SHUTDOWN_TIMEOUT = "shutdown-timeout", "AUTH_RECONCILER_SHUTDOWN_TIMEOUT", Some("10s");
}
