//! `auth-reconciler uninstall`: asks on a terminal, then leaves no trace.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;

use super::say;
use crate::database::Database;
use crate::postgres::schema;

/// Removes triggers and schema; `Ok(false)` if the person at the terminal said no.
pub(crate) async fn uninstall(database: &Database, yes: bool) -> Result<bool> {
    if !yes && io::stdin().is_terminal() && !confirmed(database)? {
        say("nothing was removed");
        return Ok(false);
    }
    say(schema::uninstall(database).await?);
    Ok(true)
}

fn confirmed(database: &Database) -> io::Result<bool> {
    let mut terminal = io::stdout();
    write!(
        terminal,
        "This removes the triggers and the schema auth_reconciler, with its history, from\n{}\nType yes to go on: ",
        database.describe()
    )?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
