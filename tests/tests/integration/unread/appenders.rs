//! Whoever appends to the log has a transaction id before he draws a number: reads rely on it.

use super::*;

/// Functions that append, and whether each takes an id before it does. `ask()` and `log_rows()` are called by others.
const APPENDERS: &str = "
    select p.proname::text, p.prosrc from pg_proc as p
    where p.pronamespace = 'auth_reconciler'::regnamespace and p.prosrc ~* 'insert\\s+into\\s+auth_reconciler\\.change\\M'";

#[tokio::test]
async fn every_function_that_appends_has_a_transaction_id_before_a_number() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let found = scene.manager.query(APPENDERS, &[]).await?;
    let mut names = Vec::new();
    for row in found {
        let (name, text): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let append = text
            .to_lowercase()
            .find("insert into auth_reconciler.change");
        let id = text.find("pg_current_xact_id()");
        ensure!(id.is_some() && id < append, "{name} appends without an id");
        names.push(name);
    }
    for known in [
        "log_change",
        "keep_status",
        "ask",
        "reconcile_all",
        "log_rows",
    ] {
        ensure!(
            names.contains(&known.to_owned()),
            "{known} is not among {names:?}"
        );
    }
    Ok(())
}
