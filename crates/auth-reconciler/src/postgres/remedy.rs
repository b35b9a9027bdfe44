//! The one table of what is done about a database error: by the daemon, by its listening session, and by the commands.
//!
//! The same error asks for different things of different people: a right that is missing is granted to the daemon's
//! role, to a reader, or to the owner of the tables. So a row is found by what was met and by what was being done. An
//! error without a row is tried again, and needs no advice beside its own text.

use postgres_url::Failure;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use crate::telemetry::in_their_code;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Connecting, or the first words on a new session.
    Connect,
    /// Something on the daemon's listening session.
    Listen,
    /// A statement on instances, of the daemon or of a command that asks questions.
    Serve,
    /// A change of the schema.
    Change,
    /// Following transitions.
    Follow,
}

/// What the daemon does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It may pass, or somebody mends it: try again with backoff.
    Retry,
    /// It will not pass while we run: end.
    End,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remedy {
    met: Met,
    acts: &'static [Act],
    /// What the daemon does.
    pub(crate) course: Course,
    /// What the operator does. A constant, so that it cannot hold anything of a URL or a row.
    pub(crate) advice: &'static str,
}

/// What an error is.
#[derive(Clone, Copy, Debug)]
enum Met {
    /// One of these codes.
    Code(&'static [SqlState]),
    /// The connection failed of one of these.
    Failed(&'static [Failure]),
    /// See [`closed`].
    Closed,
    /// See [`misses_ours`].
    OursMissing,
    /// See [`in_their_code`].
    TheirCode,
    /// Both: a trigger of ours on the watched table calls what is missing, inside our write.
    OursMissingInTheirCode,
}

/// What to do about an error that came while this was being done, if there is something to say.
pub(crate) fn remedy(error: &Error, act: Act) -> Option<&'static Remedy> {
    let failure = Failure::of(error);
    let theirs = error.as_db_error().is_some_and(in_their_code);
    TABLE.iter().find(|row| {
        row.acts.contains(&act)
            && match row.met {
                Met::Code(codes) => error.code().is_some_and(|code| codes.contains(code)),
                Met::Failed(failures) => failure.is_some_and(|failure| failures.contains(&failure)),
                Met::Closed => closed(error),
                Met::OursMissing => misses_ours(error),
                Met::TheirCode => theirs,
                Met::OursMissingInTheirCode => theirs && misses_ours(error),
            }
    })
}

/// The sentence of the [`remedy`].
pub(crate) fn advice(error: &Error, act: Act) -> Option<&'static str> {
    remedy(error, act).map(|remedy| remedy.advice)
}

/// Whether an error of connecting, or of a session, may be gone in a moment: nothing listens yet, the server starts,
/// stops or is full, or a time-out of its own ended the session. What the settings are to blame for (the password, the
/// name of the database, TLS) is not among them.
pub(crate) fn may_pass(error: &Error) -> bool {
    let Some(code) = error.code() else {
        return Failure::of(error).is_some_and(Failure::may_pass);
    };
    // What a pooler says of a user or database that it does not know.
    let refused = *code == SqlState::PROTOCOL_VIOLATION;
    if closed(error) {
        return true;
    }
    !refused && PASSING.iter().any(|class| code.code().starts_with(class))
}

/// Whether the session has ended, and so with it whatever ran in it: another may be had at once.
pub(crate) fn has_ended(error: &Error) -> bool {
    const ENDED: [SqlState; 2] = [SqlState::ADMIN_SHUTDOWN, SqlState::IDLE_SESSION_TIMEOUT];
    match error.code() {
        Some(code) => ENDED.contains(code),
        None => Failure::of(error).is_some_and(Failure::may_pass),
    }
}

/// Whether the database takes no connections for the time being (allow_connections): the one fatal error of its code.
fn closed(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
            && error.parsed_severity() == Some(Severity::Fatal)
    })
}

/// Lost connections, a server without resources, one that is shut down or comes up, and its time-outs of a session.
const PASSING: [&str; 5] = ["08", "53", "57P", "25P03", "25P04"];

/// Whether somebody holds what it needs: it gave way, and comes again.
pub(crate) fn is_busy(code: &SqlState) -> bool {
    *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED
}

/// Whether a function, view or table of our own schema is missing, whoever asked for it.
pub(crate) fn misses_ours(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        [SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_TABLE].contains(error.code())
            && error.message().contains("auth_reconciler.")
    })
}

const fn retry(met: Met, acts: &'static [Act], advice: &'static str) -> Remedy {
    Remedy {
        met,
        acts,
        course: Course::Retry,
        advice,
    }
}

const fn end(met: Met, acts: &'static [Act], advice: &'static str) -> Remedy {
    Remedy {
        met,
        acts,
        course: Course::End,
        advice,
    }
}

/// A change of the schema or the first words of a session meet the same as a connect.
const ANY_WAY: &[Act] = &[Act::Connect, Act::Listen, Act::Change];

/// The first row that fits counts.
const TABLE: &[Remedy] = &[
    retry(Met::OursMissingInTheirCode, &[Act::Serve], MAKE_ANEW),
    retry(
        Met::TheirCode,
        &[Act::Serve],
        "a trigger or check of the watched table fails when auth_status is written: correct it",
    ),
    end(
        Met::Code(&[SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_FUNCTION]),
        &[Act::Serve],
        "the schema auth_reconciler is gone or of another version: run `auth-reconciler migrate`, then start again",
    ),
    retry(Met::OursMissing, &[Act::Serve, Act::Listen], MAKE_ANEW),
    // The same lack, by who is to be given what.
    retry(
        Met::Code(&[SqlState::INSUFFICIENT_PRIVILEGE]),
        &[Act::Serve],
        "the daemon's role lacks a right, or row level security hides rows from it; `auth-reconciler doctor` names \
         what is missing",
    ),
    retry(
        Met::Code(&[SqlState::INSUFFICIENT_PRIVILEGE]),
        &[Act::Change],
        "`migrate` and `uninstall` are for the owner of the watched tables, who may also create a schema in this \
         database (grant create on database)",
    ),
    retry(
        Met::Code(&[SqlState::INSUFFICIENT_PRIVILEGE]),
        &[Act::Follow],
        "the role may not read: grant auth_reconciler_reader to it (deploy/grants.sql makes that role)",
    ),
    retry(
        Met::Code(&[SqlState::INSUFFICIENT_PRIVILEGE]),
        &[Act::Connect, Act::Listen],
        "the role may not connect to this database: grant connect on it",
    ),
    // What is not there, or not as this program knows it.
    retry(
        Met::Code(&[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN]),
        &[Act::Serve],
        "a watched table was changed or dropped: the view auth_reconciler.problems says with the next echo which one, \
         and what mends it",
    ),
    retry(
        Met::Code(&[
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_COLUMN,
            SqlState::UNDEFINED_TABLE,
        ]),
        &[Act::Follow],
        OTHER_VERSION,
    ),
    // A server that takes no writes, and one on which nobody can listen.
    retry(
        Met::Code(&[SqlState::READ_ONLY_SQL_TRANSACTION]),
        &[Act::Serve],
        "this server is a standby, or default_transaction_read_only is on: name the primary, or all servers, in \
         DATABASE_URL, or set it off for the database and the role",
    ),
    retry(
        Met::Failed(&[Failure::ReadOnly]),
        ANY_WAY,
        "if this server is a standby, name the primary, or all of them separated by commas; if \
         default_transaction_read_only is on for the database or the role, set it off (alter database … set, alter \
         role … set)",
    ),
    retry(
        Met::Code(&[
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            SqlState::FEATURE_NOT_SUPPORTED,
        ]),
        &[Act::Follow],
        "this server may be a standby, on which nobody can listen: name the primary",
    ),
    // A server that is full, or not up.
    retry(
        Met::Code(&[SqlState::TOO_MANY_CONNECTIONS]),
        &[Act::Serve],
        "raise max_connections of the server or lower AUTH_RECONCILER_POOL_SIZE",
    ),
    retry(
        Met::Code(&[SqlState::TOO_MANY_CONNECTIONS]),
        ANY_WAY,
        "the server has no connection left: lower --pool-size (AUTH_RECONCILER_POOL_SIZE) or raise max_connections, or \
         the connection limit of the role or the database (alter role …, alter database … connection limit)",
    ),
    retry(
        Met::Closed,
        ANY_WAY,
        "the database takes no connections: alter database … allow_connections true",
    ),
    retry(
        Met::Code(&[SqlState::CANNOT_CONNECT_NOW]),
        ANY_WAY,
        "the server is starting or stopping: try again in a moment",
    ),
    // Who we are.
    retry(
        Met::Code(&[SqlState::INVALID_PASSWORD]),
        ANY_WAY,
        "the user or the password is wrong: check both, and whether the password has expired (valid until); a special \
         character in a URL must be percent-encoded",
    ),
    retry(
        Met::Failed(&[Failure::NoPassword]),
        ANY_WAY,
        "the server asks for a password: put one into the URL or set DATABASE_PASSWORD",
    ),
    retry(
        Met::Code(&[SqlState::INVALID_AUTHORIZATION_SPECIFICATION]),
        ANY_WAY,
        "the role does not exist, may not log in, or pg_hba.conf has no line for this user, database, address and \
         kind of connection: if it wants encryption set sslmode=require, if it wants none sslmode=disable, if it wants \
         a client certificate set sslcert and sslkey",
    ),
    retry(
        Met::Failed(&[Failure::UnknownMethod]),
        ANY_WAY,
        "the server wants a method that is not spoken (Kerberos, SSPI): allow scram-sha-256 for this user in \
         pg_hba.conf",
    ),
    retry(
        Met::Code(&[SqlState::INVALID_CATALOG_NAME]),
        ANY_WAY,
        "the database does not exist: check the name after the host, which is the user's name if it is left out",
    ),
    retry(
        Met::Code(&[
            SqlState::PROTOCOL_VIOLATION,
            SqlState::FEATURE_NOT_SUPPORTED,
        ]),
        ANY_WAY,
        "something in between, most likely a connection pooler, refuses: see whether it knows this user, password and \
         database; if it is a start-up parameter that it refuses, connect to Postgres directly",
    ),
    // The way to the server.
    retry(
        Met::Failed(&[Failure::Refused]),
        ANY_WAY,
        "nothing listens there: check host and port, whether Postgres runs, and its listen_addresses",
    ),
    retry(
        Met::Failed(&[Failure::NoSocket]),
        ANY_WAY,
        "there is no such socket: check the directory in host, the port, and whether Postgres runs",
    ),
    retry(
        Met::Failed(&[Failure::Silent]),
        ANY_WAY,
        "the host does not answer: check host and port, and firewalls in between",
    ),
    retry(
        Met::Failed(&[Failure::Unreachable]),
        ANY_WAY,
        "the host cannot be reached from here: check its address and the network",
    ),
    retry(
        Met::Failed(&[Failure::UnknownHost]),
        ANY_WAY,
        "the host's name is not known here: check its spelling and the name service",
    ),
    retry(
        Met::Failed(&[Failure::Closed]),
        ANY_WAY,
        "the connection was closed at once: check that it is Postgres that listens there, and its log; over TLS it may \
         be that the server refuses this client's certificate: check sslcert and sslkey",
    ),
    retry(
        Met::Failed(&[Failure::Forbidden]),
        ANY_WAY,
        "the socket may not be opened: check the permissions of its directory, or firewall rules",
    ),
    // TLS.
    retry(
        Met::Failed(&[Failure::NoTls]),
        ANY_WAY,
        "the server has no TLS: turn it on there (ssl = on), or set sslmode=prefer or disable if the network is \
         trusted",
    ),
    retry(
        Met::Failed(&[Failure::NotTls]),
        ANY_WAY,
        "the answer is not TLS: check host and port, and what stands between",
    ),
    retry(
        Met::Failed(&[Failure::OldTls]),
        ANY_WAY,
        "the server's TLS is too old: it must speak TLS 1.2 or 1.3 (ssl_min_protocol_version, ssl_ciphers)",
    ),
    retry(
        Met::Failed(&[Failure::NoChannelBinding]),
        ANY_WAY,
        "the server offers no channel binding: it needs TLS and scram-sha-256 for this user, and nothing in between \
         that ends TLS; or leave channel_binding=require out",
    ),
    retry(
        Met::Failed(&[Failure::ClientRefused]),
        ANY_WAY,
        "the server refuses this client's certificate: check sslcert and sslkey, and which authority the server \
         trusts (ssl_ca_file)",
    ),
    retry(
        Met::Failed(&[Failure::OtherAuthority]),
        ANY_WAY,
        "the server's certificate is not signed by the authority in sslrootcert or DATABASE_SSL_CA: name the PEM file \
         of the one that signed it",
    ),
    retry(
        Met::Failed(&[Failure::OtherName]),
        ANY_WAY,
        "the server's certificate is for another name: connect by a name that is among its alternative names (its \
         common name does not count), or check the authority alone with sslmode=verify-ca",
    ),
    retry(
        Met::Failed(&[Failure::NoCertificateName]),
        ANY_WAY,
        "the host's name cannot be checked against a certificate: use its DNS name or address",
    ),
    retry(
        Met::Failed(&[Failure::Expired]),
        ANY_WAY,
        "the server's certificate has expired: renew it, or check this machine's clock",
    ),
    retry(
        Met::Failed(&[Failure::NotYetValid]),
        ANY_WAY,
        "the server's certificate is not valid yet: check this machine's clock",
    ),
    retry(
        Met::Failed(&[Failure::UnusableCertificate]),
        ANY_WAY,
        "the server's certificate cannot be used: it must be an X.509 certificate of version 3 made for servers",
    ),
];

const MAKE_ANEW: &str =
    "a function or view of the schema auth_reconciler is missing: run `auth-reconciler migrate`";

/// The schema and this program are not of one version.
pub(crate) const OTHER_VERSION: &str = "the schema auth_reconciler is of another version than this program: use the program that \
     migrated it, or run `auth-reconciler migrate` with this one";

#[cfg(test)]
mod tests;
