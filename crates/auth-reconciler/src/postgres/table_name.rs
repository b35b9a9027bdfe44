//! The names of the watched tables, read by the rules of SQL identifiers.
//!
//! Postgres folds an unquoted name to lower case and keeps a quoted one as it is; whoever writes a table's name in a
//! setting expects just that. The schema is always explicit afterwards, so that no search path decides which table is
//! meant.

use std::fmt;

/// Postgres cuts longer names; one that is cut would silently mean another table.
pub(crate) const LONGEST_NAME: usize = 63;

/// A table with its schema, as the catalogue spells them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TableName {
    /// The schema, unquoted.
    pub(crate) schema: String,
    /// The table, unquoted.
    pub(crate) name: String,
}

/// Why a list of tables cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableNameError {
    /// Nothing between two commas, or nothing at all.
    #[error("a table's name is missing")]
    Missing,
    /// More than schema and table.
    #[error("a table is named by at most a schema and a name, separated by one full stop")]
    TooManyParts,
    /// An empty part.
    #[error("a schema or table name is empty")]
    EmptyPart,
    /// A quotation mark without its partner.
    #[error("a quotation mark is not closed")]
    OpenQuote,
    /// A character that an unquoted name cannot hold.
    #[error("an unquoted name cannot hold {0:?} there: put the name in double quotes")]
    Character(char),
    /// A name longer than Postgres keeps.
    #[error("a name is longer than {LONGEST_NAME} bytes")]
    TooLong,
}

impl TableName {
    /// Reads a comma separated list; a table that is named twice counts once, and one without a schema is in this one.
    pub(crate) fn parse_list(list: &str, schema: &str) -> Result<Vec<Self>, TableNameError> {
        let mut tables: Vec<Self> = Vec::new();
        let mut rest = list;
        loop {
            let (table, after) = Self::parse_one(rest, schema)?;
            if !tables.contains(&table) {
                tables.push(table);
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => return Ok(tables),
            }
        }
    }

    /// The name as SQL reads it in any context: both parts quoted.
    pub(crate) fn to_sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Reads one name; what follows it begins with a comma or is empty.
    fn parse_one<'a>(text: &'a str, schema: &str) -> Result<(Self, &'a str), TableNameError> {
        if matches!(text.trim_start().chars().next(), None | Some(',')) {
            return Err(TableNameError::Missing);
        }
        let (first, rest) = identifier(text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return ended(rest).map(|rest| {
                (
                    Self {
                        schema: schema.to_owned(),
                        name: first,
                    },
                    rest,
                )
            });
        };
        let (name, rest) = identifier(rest)?;
        if rest.starts_with('.') {
            return Err(TableNameError::TooManyParts);
        }
        ended(rest).map(|rest| {
            (
                Self {
                    schema: first,
                    name,
                },
                rest,
            )
        })
    }
}

/// As a person would write it: quoted only where SQL needs it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", readable(&self.schema), readable(&self.name))
    }
}

fn ended(rest: &str) -> Result<&str, TableNameError> {
    match rest.chars().next() {
        None | Some(',') => Ok(rest),
        Some(other) => Err(TableNameError::Character(other)),
    }
}

/// One identifier, blanks around it allowed, and what follows.
fn identifier(text: &str) -> Result<(String, &str), TableNameError> {
    let text = text.trim_start();
    let (name, rest) = match text.strip_prefix('"') {
        Some(inside) => quoted_identifier(inside)?,
        None => plain_identifier(text)?,
    };
    if name.is_empty() {
        return Err(TableNameError::EmptyPart);
    }
    if name.len() > LONGEST_NAME {
        return Err(TableNameError::TooLong);
    }
    Ok((name, rest.trim_start()))
}

fn quoted_identifier(inside: &str) -> Result<(String, &str), TableNameError> {
    let mut name = String::new();
    let mut rest = inside;
    loop {
        let (before, after) = rest.split_once('"').ok_or(TableNameError::OpenQuote)?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => {
                return match name.find('\0') {
                    Some(_) => Err(TableNameError::Character('\0')),
                    None => Ok((name, after)),
                };
            }
        }
    }
}

fn plain_identifier(text: &str) -> Result<(String, &str), TableNameError> {
    let end = text.find(|c: char| !may_continue(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match name.chars().next() {
        Some(first) if !may_begin(first) => Err(TableNameError::Character(first)),
        Some(_) => Ok((name.to_ascii_lowercase(), rest)),
        None => match text.chars().next() {
            None | Some('.' | ',') => Err(TableNameError::EmptyPart),
            Some(other) => Err(TableNameError::Character(other)),
        },
    }
}

fn may_begin(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn may_continue(c: char) -> bool {
    may_begin(c) || c.is_ascii_digit() || c == '$'
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn readable(name: &str) -> String {
    let plain = name.starts_with(may_begin)
        && name
            .chars()
            .all(|c| may_continue(c) && !c.is_ascii_uppercase());
    if plain { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests;
