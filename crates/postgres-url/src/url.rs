//! Takes a database URL, or libpq's key=value form, apart into keys and values, without judging them.
//!
//! The URL is read more forgivingly than the standard for URLs asks, as its two readers do: the last `@` before the
//! path ends the user's part, and a `%` that encodes nothing stands for itself. Where a special character leaves two
//! readings, it is an error instead of a guess: a guess would make a piece of a password the host, and show it.

use crate::DatabaseError;

/// One key with its value.
#[derive(PartialEq, Eq)]
pub(crate) struct Pair {
    /// The key, in libpq's spelling.
    pub(crate) key: String,
    /// The value, decoded; bytes, because a password may be any.
    pub(crate) value: Vec<u8>,
    /// Whether an error may repeat the key: not right after a password, of which it may be a piece.
    pub(crate) nameable: bool,
}

/// The pairs of a URL or of the key=value form.
pub(crate) fn pairs(text: &str) -> Result<Vec<Pair>, DatabaseError> {
    let text = text.trim();
    if text.starts_with(['"', '\'']) {
        return Err(DatabaseError::Quoted);
    }
    if let Some(rest) = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
    {
        return url_pairs(rest);
    }
    match (text.find("://"), text.find('=')) {
        (Some(scheme), equals) if equals.is_none_or(|equals| scheme < equals) => {
            Err(DatabaseError::Scheme)
        }
        (_, Some(_)) => key_value_pairs(text),
        (_, None) => Err(DatabaseError::NotUnderstood),
    }
}

/// Percent-encodes what would be read as a part of a URL.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || !c.is_ascii() && !c.is_control() {
            out.push(c);
        } else {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

fn url_pairs(rest: &str) -> Result<Vec<Pair>, DatabaseError> {
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if rest.contains(['@', '#']) {
        return Err(DatabaseError::Unencoded);
    }
    let mut pairs = Vec::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            user_pairs(user, &mut pairs);
            hosts
        }
        None => authority,
    };
    host_pairs(hosts, &mut pairs)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = path.strip_prefix('/').unwrap_or(path);
    if database.contains('/') {
        return Err(DatabaseError::Unencoded);
    }
    if !database.is_empty() {
        pairs.push(pair("dbname", decoded(database)));
    }
    query_pairs(query, &mut pairs)?;
    Ok(pairs)
}

fn user_pairs(user: &str, pairs: &mut Vec<Pair>) {
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    };
    if !user.is_empty() {
        pairs.push(pair("user", decoded(user)));
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        pairs.push(pair("password", decoded(password)));
    }
}

/// `host:port,host:port` as two lists.
fn host_pairs(hosts: &str, pairs: &mut Vec<Pair>) -> Result<(), DatabaseError> {
    if hosts.is_empty() {
        return Ok(());
    }
    if hosts.contains('#') || hosts.contains(char::is_whitespace) {
        return Err(DatabaseError::Unencoded);
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for place in hosts.split(',') {
        let (name, port) = match place.strip_prefix('[') {
            Some(inside) => {
                let (address, after) = inside.split_once(']').ok_or(DatabaseError::Host)?;
                if !after.is_empty() && !after.starts_with(':') {
                    return Err(DatabaseError::Host);
                }
                (address, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (place, None),
            },
        };
        names.push(decoded(name));
        let port = port.unwrap_or_default();
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DatabaseError::Port);
        }
        ports.push(port);
    }
    if names.len() > 1 || names.iter().any(|name| !name.is_empty()) {
        pairs.push(pair("host", names.join(&b","[..])));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(pair("port", ports.join(",").into_bytes()));
    }
    Ok(())
}

fn query_pairs(query: &str, pairs: &mut Vec<Pair>) -> Result<(), DatabaseError> {
    let mut after_password = false;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or(DatabaseError::NoValue)?;
        let key = text("a key", decoded(key))?;
        let value = match key.as_str() {
            // Node reads a plus in a query as a blank, and this is where people write it so: options=-c+a=b.
            "options" => decoded(&value.replace('+', " ")),
            _ => decoded(value),
        };
        let is_password = key == "password";
        pairs.push(Pair {
            key,
            value,
            nameable: !after_password,
        });
        after_password = is_password;
    }
    Ok(())
}

/// libpq's other form: `key = value`, values with blanks in single quotes, a backslash before a quote or itself.
fn key_value_pairs(all: &str) -> Result<Vec<Pair>, DatabaseError> {
    let mut pairs = Vec::new();
    let mut rest = all.trim_start();
    let mut after_password = false;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .ok_or(DatabaseError::NoValue)?;
        let (key, after) = rest.split_at(end);
        let after = after
            .trim_start()
            .strip_prefix('=')
            .ok_or(DatabaseError::NoValue)?
            .trim_start();
        let quoted = after.starts_with('\'');
        let (value, after) = if quoted {
            quoted_value(&after[1..])?
        } else {
            plain_value(after)
        };
        pairs.push(Pair {
            key: key.to_owned(),
            value: value.into_bytes(),
            nameable: !after_password,
        });
        after_password = key == "password" && !quoted;
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn plain_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c.is_whitespace() => return (value, &text[at..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn quoted_value(text: &str) -> Result<(String, &str), DatabaseError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    Err(DatabaseError::OpenQuote)
}

fn pair(key: &str, value: Vec<u8>) -> Pair {
    Pair {
        key: key.to_owned(),
        value,
        nameable: true,
    }
}

/// Bytes as text without a zero byte, which Postgres could not take.
pub(crate) fn text(what: &'static str, bytes: Vec<u8>) -> Result<String, DatabaseError> {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) | Err(_) => Err(DatabaseError::NotText(what)),
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) => digit(*high)
                .zip(digit(*low))
                .map(|(high, low)| (high * 16 + low, after)),
            _ => None,
        };
        let (byte, after) = byte.unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
