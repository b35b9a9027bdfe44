//! The table of settings: names, type, range, default and help of each. There is no other place for any of these.
//!
//! The table in `deploy/README.md` is made of it as well; a test compares the two.

use std::path::PathBuf;
use std::time::Duration;

use postgres_url::TlsMode;
use uuid::Uuid;

use super::setting::{Of, Parse, Range, Setting};
use super::value;
use super::watch::Color;
use crate::probe::url::ProbeUrl;
use crate::telemetry::LogFormat;

/// What a value is read as.
struct Kind<T: 'static> {
    shown: &'static str,
    range: Range,
    parse: Parse<T>,
}

const fn text<T>(shown: &'static str, parse: Parse<T>) -> Kind<T> {
    Kind {
        shown,
        range: Range::Any,
        parse,
    }
}

const fn count(low: u32, high: u32) -> Kind<u32> {
    Kind {
        shown: "COUNT",
        range: Range::Counts(low, high),
        parse: value::count,
    }
}

const fn time(low: Duration, high: Duration) -> Kind<Duration> {
    Kind {
        shown: "DURATION",
        range: Range::Durations(low, high),
        parse: value::duration,
    }
}

const fn time_or_off(low: Duration, high: Duration) -> Kind<Option<Duration>> {
    Kind {
        shown: "DURATION",
        range: Range::DurationsOrOff(low, high),
        parse: value::duration_or_off,
    }
}

/// A flag without a value; in the environment true or false.
const SWITCH: Kind<bool> = Kind {
    shown: "",
    range: Range::Any,
    parse: value::switch,
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

const fn days(count: u64) -> Duration {
    hours(24 * count)
}

/// With the leap years' share, as `10y` is read.
const fn years(count: u64) -> Duration {
    Duration::from_secs(31_557_600 * count)
}

const EVERY: &[&str] = &[];
const RUN: &[&str] = &["run", "doctor"];
const RUN_AND_HEALTH: &[&str] = &["run", "doctor", "health"];
const MIGRATE_AND_RUN: &[&str] = &["migrate", "run", "doctor"];
const LISTENERS: &[&str] = &["run", "doctor", "watch"];
const WATCH: &[&str] = &["watch"];

/// Declares each setting as a static of its own, and [`ALL`] of them.
macro_rules! settings {
    ($($heading:literal of $commands:ident {
        $($name:ident: $type:ty = $kind:expr, $flag:literal, $env:literal $(or $other:literal)?, $default:literal, $help:literal;)+
    })+) => {
        $($(
            #[doc = $help]
            pub(super) static $name: Of<$type> = {
                let kind: Kind<$type> = $kind;
                Of {
                    setting: Setting {
                        flag: $flag,
                        env: $env,
                        other: concat!("" $(, $other)?),
                        default: $default,
                        shown: kind.shown,
                        range: kind.range,
                        heading: $heading,
                        commands: $commands,
                        help: $help,
                    },
                    parse: kind.parse,
                }
            };
        )+)+
        /// Every setting, in the order of help and documents.
        pub(super) static ALL: &[&Setting] = &[$($(&$name.setting),+),+];
    };
}

settings! {
    "Database" of EVERY {
        DATABASE_URL: String = text("URL", value::text), "database-url", "DATABASE_URL", "",
            "The manager's database, as node-postgres, Prisma or libpq write it: \
             postgres://user:password@host:port/name?sslmode=… or key=value pairs. It wins over the separate \
             names; what it leaves out of password, sslmode and CA is taken from those. Prefer the environment: \
             arguments are visible in the process list";
        DATABASE_HOST: String = text("HOST", value::name), "database-host", "DATABASE_HOST" or "DB_HOST", "localhost",
            "Host name, address or directory of the Unix socket; used when there is no URL. This and the next five may \
             also be called DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD and DB_SSL";
        DATABASE_PORT: u16 = text("PORT", value::port), "database-port", "DATABASE_PORT" or "DB_PORT", "5432",
            "TCP port, 1 to 65535; used when there is no URL";
        DATABASE_NAME: String = text("NAME", value::name), "database-name", "DATABASE_NAME" or "DB_NAME", "",
            "Name of the database, by default the user's; used when there is no URL";
        DATABASE_USER: String = text("USER", value::name), "database-user", "DATABASE_USER" or "DB_USER", "",
            "User to connect as, postgres if only the host or the database is named; used when there is no URL";
        DATABASE_PASSWORD: String = text("PASSWORD", value::text), "database-password", "DATABASE_PASSWORD" or "DB_PASSWORD", "",
            "Password, where the URL has none. Prefer the environment: arguments are visible in the process list";
        DATABASE_SSL: TlsMode = text("MODE", value::tls_mode), "database-ssl", "DATABASE_SSL" or "DB_SSL", "",
            "TLS, where the URL says nothing: disable, allow, prefer, require, no-verify, verify-ca or \
             verify-full; true means require, false means disable; prefer if not given";
        DATABASE_CA: PathBuf = text("FILE", value::path), "database-ca", "DATABASE_SSL_CA", "",
            "PEM file of the authority that signed the server's certificate, for verify-ca and verify-full, where \
             the URL has no sslrootcert; with it require checks like verify-ca";
        DATABASE_SCHEMA: String = text("SCHEMA", value::schema), "database-schema", "DATABASE_SCHEMA", "public",
            "Schema of watched tables that are named without one, spelled as the catalog has it";
    }
    "Database" of LISTENERS {
        LISTEN_URL: String = text("URL", value::text), "listen-url", "AUTH_RECONCILER_LISTEN_URL", "",
            "Database URL of a direct connection, where the other one leads through a transaction pooler: for all \
             sessions of the daemon, and for watch; by default the same as the database URL. Prefer the \
             environment: arguments are visible in the process list";
    }
    "Database" of RUN {
        POOL_SIZE: u32 = count(1, 256), "pool-size", "AUTH_RECONCILER_POOL_SIZE", "6",
            "Database connections beside the listening one: one reads instances, one records, two record what takes \
             long (opened only then), the others do what is done beside";
    }
    "Database" of RUN_AND_HEALTH {
        ECHO_INTERVAL: Duration = time(ms(100), hours(1)), "echo-interval", "AUTH_RECONCILER_ECHO_INTERVAL", "20s",
            "Time between two echoes, which prove that the listening connection hears";
        ECHO_TIMEOUT: Duration = time(ms(100), minutes(5)), "echo-timeout", "AUTH_RECONCILER_ECHO_TIMEOUT", "5s",
            "How long an echo may take before the connection counts as deaf";
    }
    "Tables" of EVERY {
        TABLE: String = text("TABLES", value::text), "table", "AUTH_RECONCILER_TABLE", "message_instances",
            "Tables to watch, comma separated, written as in SQL; without a schema, DATABASE_SCHEMA is meant. `status`, \
             `watch`, `health` and `uninstall` concern every table that is watched and refuse the flag";
    }
    "Tables" of RUN {
        MIGRATE: bool = SWITCH, "migrate", "AUTH_RECONCILER_MIGRATE", "false",
            "Does what `migrate` does before it starts; in the environment true or false";
    }
    "Tables" of MIGRATE_AND_RUN {
        INTO_PUBLICATION: bool = SWITCH, "into-publication", "AUTH_RECONCILER_INTO_PUBLICATION", "false",
            "Makes our tables although a publication takes them in, so that every subscriber needs them too; in \
             the environment true or false";
    }
    "Containers" of RUN {
        DOCKER: String = text("ENGINE", value::text), "docker", "AUTH_RECONCILER_DOCKER", "auto",
            "The Docker Engine that runs the containers: auto (DOCKER_HOST, else the socket of this machine, else \
             none), off, unix://PATH or tcp://HOST:PORT. Only events, list, inspect and logs are asked for";
        DOCKER_CERTS: PathBuf = text("FOLDER", value::path), "docker-certs", "AUTH_RECONCILER_DOCKER_CERTS", "",
            "Folder with ca.pem, cert.pem and key.pem for TLS to the engine; by default DOCKER_CERT_PATH where \
             DOCKER_TLS_VERIFY is set";
        DOCKER_LABEL_ID: String = text("KEY", value::label), "docker-label-id", "AUTH_RECONCILER_DOCKER_LABEL_ID", "wweb.instance.id",
            "Key of the label that holds an instance's id";
        DOCKER_LABEL_TYPE: String = text("KEY", value::label), "docker-label-type", "AUTH_RECONCILER_DOCKER_LABEL_TYPE", "wweb.instance.type",
            "Key of the label that holds a container's type; only those of type api count";
        FOLLOWERS: u32 = count(0, 1024), "followers", "AUTH_RECONCILER_FOLLOWERS", "64",
            "Containers whose output is followed at a time, those that are not ready first and in turns if there \
             are more; 0 follows none";
    }
    "Probes" of RUN {
        PROBE_URL: ProbeUrl = text("TEMPLATE", value::probe_url), "probe-url", "AUTH_RECONCILER_PROBE_URL", "http://127.0.0.1:{port}",
            "Where an instance's API answers, plain http, with {port} and {id} of the instance or {container_ip} \
             of its container in place";
        PROBE_TIMEOUT: Duration = time(ms(100), minutes(5)), "probe-timeout", "AUTH_RECONCILER_PROBE_TIMEOUT", "5s",
            "Longest time for one whole probe, body included";
        PROBE_CONNECT_TIMEOUT: Duration = time(ms(10), minutes(1)), "probe-connect-timeout", "AUTH_RECONCILER_PROBE_CONNECT_TIMEOUT", "200ms",
            "Longest time for one attempt to connect, after which it tries again; at most the probe's";
        PROBE_CONCURRENCY: u32 = count(1, 4096), "probe-concurrency", "AUTH_RECONCILER_PROBE_CONCURRENCY", "64",
            "Probes at a time; retries hold at most three quarters";
    }
    "Verdicts" of RUN {
        BACKOFF_MIN: Duration = time(ms(1), hours(1)), "backoff-min", "AUTH_RECONCILER_BACKOFF_MIN", "50ms",
            "First pause before an instance that is not final is looked at again";
        BACKOFF_MAX: Duration = time(ms(1), hours(1)), "backoff-max", "AUTH_RECONCILER_BACKOFF_MAX", "60s",
            "Longest such pause, not below the first";
        AWAITING_GRACE: Duration = time(ms(1), days(1)), "awaiting-grace", "AUTH_RECONCILER_AWAITING_GRACE", "30s",
            "How long an instance may wait for key, port or its first answer before it is in trouble";
        NOT_CONNECTED_LIMIT: Duration = time(ms(1), days(1)), "not-connected-limit", "AUTH_RECONCILER_NOT_CONNECTED_LIMIT", "30s",
            "How long an API may not have been ready, whatever else it answered, before \"not connected\" is a failure";
        WHATSAPP_NOT_CONNECTED_LIMIT: Duration = time(ms(1), days(1)), "whatsapp-not-connected-limit", "AUTH_RECONCILER_WHATSAPP_NOT_CONNECTED_LIMIT", "10m",
            "The same for WhatsApp, where a phone has to synchronise first";
        MISSES: u32 = count(1, 100), "misses", "AUTH_RECONCILER_MISSES", "3",
            "Misses in a row before an instance that was ready has failed";
        MISS_WINDOW: Duration = time(ms(1), hours(1)), "miss-window", "AUTH_RECONCILER_MISS_WINDOW", "10s",
            "Shortest time that those misses must span";
        BELIEVE_SILENCE_AFTER: Option<Duration> = time_or_off(ms(1000), days(30)), "believe-silence-after", "AUTH_RECONCILER_BELIEVE_SILENCE_AFTER", "off",
            "How long nobody may answer before that is believed without a witness and becomes a failure of all \
             who are silent; off is never, for it may be the way from here to them that fails";
        CORRECTIONS_PER_MINUTE: u32 = count(1, 600), "corrections-per-minute", "AUTH_RECONCILER_CORRECTIONS_PER_MINUTE", "10",
            "Foreign writes of auth_status that are corrected at once, per instance and minute";
        LOOK_BURST: u32 = count(1, 10_000), "look-burst", "AUTH_RECONCILER_LOOK_BURST", "60",
            "Looks at one instance that may follow each other freely";
        LOOK_INTERVAL: Duration = time(ms(1), hours(1)), "look-interval", "AUTH_RECONCILER_LOOK_INTERVAL", "500ms",
            "Once those are spent, one more look per this time";
    }
    "History" of RUN {
        HISTORY_PER_INSTANCE: u32 = count(1, 100_000), "history-per-instance", "AUTH_RECONCILER_HISTORY_PER_INSTANCE", "200",
            "Transitions kept for each instance, and entries of its journal; not pruned with each look, so for a while it may be some more";
        HISTORY_MAX_AGE: Duration = time(minutes(1), years(10)), "history-max-age", "AUTH_RECONCILER_HISTORY_MAX_AGE", "30d",
            "Age beyond which both are removed";
    }
    "Transitions" of WATCH {
        INSTANCE: Option<Uuid> = text("ID", value::instance), "instance", "AUTH_RECONCILER_INSTANCE", "",
            "Only the instance with this id";
        LAST: u32 = count(0, 1000), "last", "AUTH_RECONCILER_LAST", "10",
            "How many earlier transitions are shown first";
        COLOR: Color = text("WHEN", value::color), "color", "AUTH_RECONCILER_COLOR", "auto",
            "Colours: auto (on a terminal, unless NO_COLOR is set), always or never";
    }
    "Process" of RUN {
        SHUTDOWN_TIMEOUT: Duration = time(ms(100), minutes(10)), "shutdown-timeout", "AUTH_RECONCILER_SHUTDOWN_TIMEOUT", "10s",
            "How long work in flight may take once the daemon was told to stop, by SIGTERM or SIGINT";
    }
    "Process" of EVERY {
        LOG_FORMAT: LogFormat = text("FORMAT", value::log_format), "log-format", "AUTH_RECONCILER_LOG_FORMAT", "human",
            "How log lines look: human, or json with one object a line";
    }
}
