//! The keys of a database URL that are known: what libpq, node-postgres and Prisma put there.
//!
//! Three lists: what is honoured, what is passed over with a reason (it asks for something that the program does not
//! do, or does anyway), and what is refused because passing it over would be unsafe or wrong. A key on none of them is
//! an error.

/// The keys that are honoured.
pub(crate) const ACCEPTED: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "ssl",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "target_session_attrs",
    "load_balance_hosts",
    "options",
    "client_encoding",
    "gssencmode",
    "replication",
    "sslaccept",
];

const OWN_NAME: &str = "sessions carry the name of this program";
const OWN_POOL: &str = "the pool has its own settings";
const OWN_LIMITS: &str = "sessions have their own limits";
const NOT_DONE: &str = "it asks for nothing that this program does";
const QUALIFIED: &str = "every table is named with its schema";

/// The keys that are passed over, and why.
pub(crate) const IGNORED: &[(&str, &str)] = &[
    ("application_name", OWN_NAME),
    ("fallback_application_name", OWN_NAME),
    ("schema", QUALIFIED),
    ("connection_limit", OWN_POOL),
    ("pool_timeout", OWN_POOL),
    ("max", OWN_POOL),
    ("min", OWN_POOL),
    ("max_connections", OWN_POOL),
    ("pool_size", OWN_POOL),
    ("idleTimeoutMillis", OWN_POOL),
    ("connectionTimeoutMillis", OWN_POOL),
    ("max_idle_connection_lifetime", OWN_POOL),
    ("socket_timeout", OWN_LIMITS),
    ("statement_timeout", OWN_LIMITS),
    ("query_timeout", OWN_LIMITS),
    ("lock_timeout", OWN_LIMITS),
    ("idle_in_transaction_session_timeout", OWN_LIMITS),
    ("keepAlive", "keepalives are on"),
    (
        "pgbouncer",
        "whether a pooler is in between is found out by an echo",
    ),
    ("supa", NOT_DONE),
    ("uselibpqcompat", "sslmode means what it means to libpq"),
    ("statement_cache_size", NOT_DONE),
    ("prepareThreshold", NOT_DONE),
    ("binary", NOT_DONE),
    ("sslcompression", "TLS is never compressed"),
    ("sslsni", "the host's name is always sent"),
    ("krbsrvname", "Kerberos is not spoken"),
    ("gsslib", "Kerberos is not spoken"),
    ("gssdelegation", "Kerberos is not spoken"),
    (
        "min_protocol_version",
        "version 3.0 of the protocol is enough",
    ),
    (
        "max_protocol_version",
        "version 3.0 of the protocol is enough",
    ),
];

/// Stands for the name of the setting that holds the password, in what is advised.
pub(crate) const PASSWORD_SETTING: &str = "{password}";

/// The keys that are refused, and what to do instead.
pub(crate) const UNSUPPORTED: &[(&str, &str)] = &[
    ("service", "write its values into the URL"),
    ("servicefile", "write its values into the URL"),
    ("passfile", "give the password with {password}"),
    (
        "sslpassword",
        "store the client's key without a password, readable by this program alone",
    ),
    (
        "sslidentity",
        "give the certificate and key as PEM files with sslcert and sslkey",
    ),
    ("sslcrl", "revocation lists are not read"),
    ("sslcrldir", "revocation lists are not read"),
    ("sslcertmode", "give sslcert and sslkey, or leave them out"),
    ("ssl_max_protocol_version", "leave it out"),
    (
        "require_auth",
        "use sslmode=verify-full with channel_binding=require",
    ),
    ("requirepeer", "use TCP with sslmode=verify-full"),
    ("requiressl", "use sslmode=require"),
];

/// Other spellings of the same keys.
pub(crate) fn spelling(key: &str) -> &str {
    match key {
        "database" => "dbname",
        "encoding" => "client_encoding",
        "keepalives_retries" => "keepalives_count",
        other => other,
    }
}

/// Keys of which only the values that change nothing are taken; the error is what is accepted.
pub(crate) fn fixed(key: &str, value: &str) -> Result<(), &'static str> {
    let value = value.to_ascii_lowercase();
    let (accepted, message): (&[&str], _) = match key {
        "client_encoding" => (&["utf8", "utf-8", "unicode", "auto"], "only utf8 is spoken"),
        "gssencmode" => (
            &["disable", "prefer"],
            "give disable or prefer: Kerberos is not spoken",
        ),
        "sslaccept" => (
            &["accept_invalid_certs"],
            "give sslmode=verify-full and sslrootcert instead",
        ),
        "replication" => (&["false", "off", "no", "0"], "leave it out"),
        _ => (
            &["tlsv1", "tlsv1.1", "tlsv1.2"],
            "give TLSv1.2, below which nothing is spoken anyway",
        ),
    };
    if accepted.contains(&value.as_str()) {
        Ok(())
    } else {
        Err(message)
    }
}
