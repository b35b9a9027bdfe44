//! The little that tests change in a connection URL: the database, the user, the address.
//!
//! Works on `postgres://user:password@host:port/database?options`, the one form that the harness produces. Errors say
//! what is missing and never show the URL: it may hold a password.

use anyhow::{Context, Result};

/// The parts of a URL, each still encoded as it was.
struct Parts<'a> {
    scheme: &'a str,
    userinfo: Option<&'a str>,
    address: &'a str,
    database: &'a str,
    query: Option<&'a str>,
}

fn split(url: &str) -> Result<Parts<'_>> {
    let (scheme, rest) = url
        .split_once("://")
        .context("the connection URL has no scheme")?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, address) = match authority.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority),
    };
    Ok(Parts {
        scheme,
        userinfo,
        address,
        database,
        query,
    })
}

impl Parts<'_> {
    fn join(&self) -> String {
        let Self {
            scheme,
            address,
            database,
            ..
        } = self;
        let userinfo = self
            .userinfo
            .map(|userinfo| format!("{userinfo}@"))
            .unwrap_or_default();
        let query = self
            .query
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        format!("{scheme}://{userinfo}{address}/{database}{query}")
    }
}

/// The same URL with another database.
///
/// # Errors
/// When `url` is not a connection URL.
pub fn with_database(url: &str, database: &str) -> Result<String> {
    Ok(Parts {
        database,
        ..split(url)?
    }
    .join())
}

/// The same URL with another host and port, for a proxy in between.
///
/// # Errors
/// When `url` is not a connection URL.
pub fn with_address(url: &str, host: &str, port: u16) -> Result<String> {
    Ok(Parts {
        address: &format!("{host}:{port}"),
        ..split(url)?
    }
    .join())
}

/// The same URL for another role; both values must be plain (letters, digits, `_`, `-`).
///
/// # Errors
/// When `url` is not a connection URL.
pub fn with_user(url: &str, user: &str, password: Option<&str>) -> Result<String> {
    let userinfo = match password {
        Some(password) => format!("{user}:{password}"),
        None => user.to_owned(),
    };
    Ok(Parts {
        userinfo: Some(&userinfo),
        ..split(url)?
    }
    .join())
}

/// The same URL with one more option (`application_name=x`).
///
/// # Errors
/// When `url` is not a connection URL.
pub fn with_option(url: &str, option: &str) -> Result<String> {
    let parts = split(url)?;
    let query = match parts.query {
        Some(query) => format!("{query}&{option}"),
        None => option.to_owned(),
    };
    Ok(Parts {
        query: Some(&query),
        ..parts
    }
    .join())
}

/// Host and port of the server, as `host:port`.
///
/// # Errors
/// When `url` is not a connection URL.
pub fn address(url: &str) -> Result<String> {
    let address = split(url)?.address;
    Ok(if address.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:5432")
    })
}

/// The password in `url` as it is written there, to keep it out of messages.
#[must_use]
pub fn password(url: &str) -> Option<&str> {
    let (_, password) = split(url).ok()?.userinfo?.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://me:p%40ss@db.example:5433/prod?sslmode=require";

    #[test]
    fn one_part_changes_and_the_others_stay() -> Result<()> {
        assert_eq!(
            with_database(URL, "x")?,
            "postgres://me:p%40ss@db.example:5433/x?sslmode=require"
        );
        assert_eq!(
            with_address(URL, "127.0.0.1", 1)?,
            "postgres://me:p%40ss@127.0.0.1:1/prod?sslmode=require"
        );
        assert_eq!(
            with_user(URL, "you", None)?,
            "postgres://you@db.example:5433/prod?sslmode=require"
        );
        assert_eq!(with_option("postgres://h/d", "a=b")?, "postgres://h/d?a=b");
        assert_eq!(with_option(URL, "a=b")?, format!("{URL}&a=b"));
        Ok(())
    }

    #[test]
    fn parts_are_found() -> Result<()> {
        assert_eq!(address(URL)?, "db.example:5433");
        assert_eq!(address("postgres://h/d")?, "h:5432");
        assert_eq!(password(URL), Some("p%40ss"));
        assert_eq!(password("postgres://me@h/d"), None);
        assert!(with_database("no url", "x").is_err());
        Ok(())
    }
}
