//! `auth-reconciler uninstall`: says what stands in its way, asks, and leaves no trace.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;
use postgres_url::Database;

use super::say;
use crate::postgres::schema::SchemaError;
use crate::postgres::schema::removal::{self, Found, Removal, Role};
use crate::settings::Consent;

/// Removes triggers, schema and what was granted; `Ok(false)` if the person at the terminal said no.
///
/// # Errors
/// Also when a daemon leads, when somebody built on the schema, and when nobody can be asked: each has its flag, and
/// nothing was removed.
pub(crate) async fn uninstall(database: &Database, consent: Consent) -> Result<bool> {
    let removal = Removal::connect(database).await?;
    let Some(found) = removal.look().await? else {
        say("the schema auth_reconciler is not there, nothing to remove")?;
        return Ok(true);
    };
    if let Some(holder) = found.leader.clone().filter(|_| !consent.force) {
        return Err(SchemaError::Led { holder }.into());
    }
    if !consent.with_dependents {
        removal::none(found.dependents.clone())?;
    }
    if !consent.yes {
        if !io::stdin().is_terminal() {
            return Err(SchemaError::NobodyToAsk.into());
        }
        if !confirmed(database, &found)? {
            say("nothing was removed")?;
            return Ok(false);
        }
    }
    removal.remove(consent.with_dependents).await?;
    say("triggers and schema auth_reconciler are removed")?;
    for dependent in &found.dependents {
        say(format_args!("with it: {dependent}"))?;
    }
    if !found.roles.is_empty() {
        say_what_stays(&removal, &found.roles).await?;
    }
    Ok(true)
}

/// Roles are the server's, and may be used elsewhere.
async fn say_what_stays(removal: &Removal, roles: &[Role]) -> Result<()> {
    let names: Vec<String> = roles
        .iter()
        .map(|role| {
            let login = if role.login { " (a login)" } else { "" };
            format!("{}{login}", role.name)
        })
        .collect();
    say(format_args!(
        "what deploy/grants.sql gave is taken back; these roles stay: {}",
        names.join(", ")
    ))?;
    for reader in removal.key_readers(roles).await? {
        say(format_args!("  by other rights role {reader}"))?;
    }
    say(
        "  deploy/revoke.sql takes back what they still hold in this database; then they can be dropped",
    )?;
    Ok(())
}

fn confirmed(database: &Database, found: &Found) -> io::Result<bool> {
    let mut terminal = io::stdout();
    writeln!(
        terminal,
        "This removes the triggers and the schema auth_reconciler, with its history, from\n{}",
        database.describe()
    )?;
    for dependent in &found.dependents {
        writeln!(terminal, "with it: {dependent}")?;
    }
    if let Some(leader) = &found.leader {
        writeln!(terminal, "a daemon leads and ends then: {leader}")?;
    }
    write!(terminal, "Type yes to go on: ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
