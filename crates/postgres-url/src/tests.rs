mod keys;

use tokio_postgres::config::{Host, SslMode};

use super::{Database, DatabaseError, Defaults, Names, SettingNames, TlsMode};

/// Nothing lent, by a program that has names for what could be.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        settings: SettingNames {
            ca: "--database-ca (DATABASE_SSL_CA)",
            password: "DATABASE_PASSWORD",
        },
        ..Defaults::default()
    }
}

fn read(url: &str) -> Result<Database, DatabaseError> {
    Database::from_url(url, &defaults())
}

fn described(url: &str) -> String {
    read(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .describe()
}

fn password(url: &str) -> Option<String> {
    let config = read(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .config();
    config
        .get_password()
        .map(|password| String::from_utf8(password.to_vec()).unwrap())
}

fn refused(url: &str) -> DatabaseError {
    match read(url) {
        Ok(database) => panic!("{url} became {database:?}"),
        Err(error) => error,
    }
}

#[test]
fn both_schemes_and_the_key_value_form_mean_the_same() {
    for url in [
        "postgres://u:p@h:5433/d?sslmode=require",
        "postgresql://u:p@h:5433/d?sslmode=require",
        " postgres://u:p@h:5433/d?sslmode=require\n",
        "host=h port=5433 user=u password=p dbname=d sslmode=require",
        "host = h\n port = '5433' user=u password='p' dbname=d sslmode=require",
    ] {
        assert_eq!(
            described(url),
            "postgres://u@h:5433/d (sslmode=require)",
            "{url}"
        );
        assert_eq!(password(url).as_deref(), Some("p"), "{url}");
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    assert_eq!(
        described("postgres://u@h"),
        "postgres://u@h:5432/u (sslmode=prefer)"
    );
    assert_eq!(
        described("postgres://u@/d"),
        "postgres://u@localhost:5432/d (sslmode=prefer)"
    );
    assert_eq!(
        described("postgres://u@h:/"),
        "postgres://u@h:5432/u (sslmode=prefer)"
    );
    assert_eq!(
        described("postgres:///d?user=u"),
        "postgres://u@localhost:5432/d (sslmode=prefer)"
    );
    assert_eq!(
        described("user=u"),
        "postgres://u@localhost:5432/u (sslmode=prefer)"
    );
    assert_eq!(refused("postgres://h/d"), DatabaseError::NoUser);
    assert_eq!(refused("postgres://"), DatabaseError::NoUser);
    assert_eq!(password("postgres://u:@h/d"), None);
}

#[test]
fn special_characters_are_decoded() {
    let url = "postgres://us%40er:p%40ss%2Fw%3Ard%25%3F%23@h/d%2F%C3%A4";
    assert_eq!(password(url).as_deref(), Some("p@ss/w:rd%?#"));
    let config = read(url).unwrap().config();
    assert_eq!(config.get_user(), Some("us@er"));
    assert_eq!(config.get_dbname(), Some("d/ä"));
    assert_eq!(
        described(url),
        "postgres://us%40er@h:5432/d%2Fä (sslmode=prefer)"
    );
}

#[test]
fn a_password_is_read_as_forgivingly_as_by_others() {
    assert_eq!(password("postgres://u:p@ss@h/d").as_deref(), Some("p@ss"));
    assert_eq!(password("postgres://u:p:w@h/d").as_deref(), Some("p:w"));
    assert_eq!(password("postgres://u:100%!@h/d").as_deref(), Some("100%!"));
    assert_eq!(password("postgres://u:p#w@h/d").as_deref(), Some("p#w"));
    assert_eq!(password("postgres://u:a+b@h/d").as_deref(), Some("a+b"));
    assert_eq!(
        password(r"user=u password='it\'s a \\'").as_deref(),
        Some(r"it's a \")
    );
    assert_eq!(password(r"user=u password=a\ b").as_deref(), Some("a b"));
    let config = read("postgres://u:%FF@h/d").unwrap().config();
    assert_eq!(config.get_password(), Some(&[0xff][..]));
}

#[test]
fn two_readings_are_an_error_and_not_a_guess() {
    for url in [
        "postgres://u:p/w@h/d",
        "postgres://u:1/w@h/d",
        "postgres://u:1?w@h/d",
        "postgres://u:p@x/y@h/d",
        "postgres://u:p@h/d#there",
        "postgres://u:p@h/a/b",
        "postgres://u:p@h#there",
        "postgres://u:p@h h/d",
    ] {
        assert_eq!(refused(url), DatabaseError::Unencoded, "{url}");
    }
    assert_eq!(refused("postgres://u:secret"), DatabaseError::Port);
    assert_eq!(refused("'postgres://u:p@h/d'"), DatabaseError::Quoted);
    assert_eq!(refused("postgres"), DatabaseError::NotUnderstood);
    assert_eq!(refused("http://u:p@h/d?a=b"), DatabaseError::Scheme);
    assert_eq!(refused("postgres://u@h/d?sslmode"), DatabaseError::NoValue);
    assert_eq!(refused("user=u dbname"), DatabaseError::NoValue);
    assert_eq!(refused("user='u"), DatabaseError::OpenQuote);
    assert_eq!(
        refused("postgres://%FF@h/d"),
        DatabaseError::NotText("a value")
    );
    assert_eq!(
        refused("postgres://u@h/d%00"),
        DatabaseError::NotText("a value")
    );
}

#[test]
fn hosts_may_be_many_addresses_or_directories() {
    assert_eq!(
        described("postgres://u@[::1]:5433/d"),
        "postgres://u@[::1]:5433/d (sslmode=prefer)"
    );
    assert_eq!(
        described("postgres://u@a,b:5433,[::1]/d"),
        "postgres://u@a:5432,b:5433,[::1]:5432/d (sslmode=prefer)"
    );
    assert_eq!(
        described("host=a,b port=5433 user=u"),
        "postgres://u@a:5433,b:5433/u (sslmode=prefer)"
    );
    let socket = "postgres://u@%2Frun%2Fpostgresql:5433/d (sslmode=disable)";
    assert_eq!(described("postgres://u@%2Frun%2Fpostgresql:5433/d"), socket);
    assert_eq!(
        described("postgres://u@:5433/d?host=/run/postgresql"),
        socket
    );
    assert_eq!(
        described("postgres://u@localhost:5433/d?host=/run/postgresql&sslmode=verify-full"),
        socket
    );
    assert_eq!(
        refused("host=a,b,c port=1,2 user=u"),
        DatabaseError::PortCount { hosts: 3, ports: 2 }
    );
    assert_eq!(refused("postgres://u@[::1/d"), DatabaseError::Host);
    assert_eq!(refused("postgres://u@[::1]x/d"), DatabaseError::Host);
    for port in ["0", "65536", "x", "-1"] {
        assert_eq!(
            refused(&format!("postgres://u@h:{port}/d")),
            DatabaseError::Port
        );
        assert_eq!(
            refused(&format!("host=h user=u port={port}")),
            DatabaseError::Port
        );
    }
}

#[test]
fn an_address_alone_is_also_the_name() {
    let config = read("hostaddr=127.0.0.1 user=u").unwrap().config();
    assert_eq!(config.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
    assert!(config.get_hostaddrs().is_empty());
    let config = read("host=h hostaddr=127.0.0.1 user=u").unwrap().config();
    assert_eq!(config.get_hosts(), [Host::Tcp("h".to_owned())]);
    assert_eq!(config.get_hostaddrs().len(), 1);
    assert_eq!(
        refused("host=a,b hostaddr=127.0.0.1 user=u"),
        DatabaseError::AddressCount {
            hosts: 2,
            addresses: 1
        }
    );
    assert!(matches!(
        refused("hostaddr=h user=u"),
        DatabaseError::Value {
            key: "hostaddr",
            ..
        }
    ));
}

#[test]
fn sslmode_and_ssl_are_understood_in_every_spelling() {
    for (query, mode, config_mode) in [
        ("", "prefer", SslMode::Prefer),
        ("sslmode=disable", "disable", SslMode::Disable),
        ("sslmode=allow", "prefer", SslMode::Prefer),
        ("sslmode=prefer", "prefer", SslMode::Prefer),
        ("sslmode=require", "require", SslMode::Require),
        ("sslmode=no-verify", "no-verify", SslMode::Require),
        (
            "sslmode=verify-ca&sslrootcert=/ca",
            "verify-ca",
            SslMode::Require,
        ),
        (
            "sslmode=verify-full&sslrootcert=/ca",
            "verify-full",
            SslMode::Require,
        ),
        (
            "sslmode=require&sslrootcert=/ca",
            "verify-ca",
            SslMode::Require,
        ),
        (
            "sslmode=no-verify&sslrootcert=/ca",
            "no-verify",
            SslMode::Require,
        ),
        ("sslmode=prefer&sslrootcert=/ca", "prefer", SslMode::Prefer),
        ("ssl=true", "require", SslMode::Require),
        ("ssl=1", "require", SslMode::Require),
        ("ssl=false", "disable", SslMode::Disable),
        ("ssl=0", "disable", SslMode::Disable),
        ("ssl=true&sslmode=no-verify", "no-verify", SslMode::Require),
        ("sslmode=", "prefer", SslMode::Prefer),
    ] {
        let database = read(&format!("postgres://u@h/d?{query}")).unwrap();
        assert_eq!(
            database.describe(),
            format!("postgres://u@h:5432/d (sslmode={mode})"),
            "{query}"
        );
        assert_eq!(database.config().get_ssl_mode(), config_mode, "{query}");
    }
    let text = refused("postgres://u@h/d?sslmode=strict").to_string();
    assert_eq!(
        text,
        "sslmode does not accept `strict`: give disable, allow, prefer, require, no-verify, verify-ca or verify-full"
    );
}

#[test]
fn a_check_needs_something_to_check_against() {
    for mode in ["verify-ca", "verify-full"] {
        let text = refused(&format!("postgres://u@h/d?sslmode={mode}")).to_string();
        assert!(
            text.contains(mode) && text.contains("sslrootcert") && text.contains("DATABASE_SSL_CA"),
            "{text}"
        );
    }
    let defaults = Defaults {
        ca: Some("/ca".into()),
        ..Defaults::default()
    };
    let database = Database::from_url("postgres://u@h/d?sslmode=verify-full", &defaults).unwrap();
    assert!(database.describe().contains("verify-full"));
    assert!(
        refused("postgres://u@h/d?sslmode=verify-full&sslrootcert=system")
            .to_string()
            .contains("Debian")
    );
}

#[test]
fn the_separate_settings_count_where_the_url_is_silent() {
    let defaults = Defaults {
        mode: Some(TlsMode::VerifyFull),
        ca: Some("/ca".into()),
        password: Some("lent".to_owned()),
        ..Defaults::default()
    };
    let lent = Database::from_url("postgres://u@h/d", &defaults).unwrap();
    assert!(lent.describe().contains("verify-full"));
    assert_eq!(lent.config().get_password(), Some(&b"lent"[..]));
    let own = Database::from_url("postgres://u:own@h/d?ssl=false", &defaults).unwrap();
    assert!(own.describe().contains("disable"));
    assert_eq!(own.config().get_password(), Some(&b"own"[..]));
}

#[test]
fn a_client_certificate_is_whole_or_none() {
    assert!(read("postgres://u@h/d?sslcert=/c&sslkey=/k").is_ok());
    assert_eq!(
        refused("postgres://u@h/d?sslcert=/c"),
        DatabaseError::HalfClientCertificate
    );
    assert_eq!(
        refused("postgres://u@h/d?sslkey=/k"),
        DatabaseError::HalfClientCertificate
    );
}

#[test]
fn separate_names_are_taken_as_they_are() {
    let names = |host: &str| Names {
        host: host.to_owned(),
        port: 5433,
        user: "us@er".to_owned(),
        name: Some("d/b".to_owned()),
    };
    let database = Database::from_names(names("db"), &Defaults::default()).unwrap();
    assert_eq!(
        database.describe(),
        "postgres://us%40er@db:5433/d%2Fb (sslmode=prefer)"
    );
    let database = Database::from_names(names("/run/postgresql"), &Defaults::default()).unwrap();
    assert_eq!(
        database.config().get_hosts(),
        [Host::Unix("/run/postgresql".into())]
    );
}

#[test]
fn debug_output_holds_no_password() {
    let text = format!("{:?}", read("postgres://u:hunter2@h/d").unwrap());
    assert_eq!(text, "Database(\"postgres://u@h:5432/d (sslmode=prefer)\")");
}
