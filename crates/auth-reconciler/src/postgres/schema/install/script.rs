//! The steps as text: what is run, and what is only printed.

use tokio_postgres::Client;

use super::{
    BEGIN, DROP_VIEWS, KEEP_GRANTS, MIGRATIONS, Migration, NOTE, ROUTINES, digest, fitting,
    indexes, needed_version, own_names, why,
};
use crate::postgres::schema::SchemaError;

/// Tables, from this version on.
pub(super) fn tables(found: i32) -> String {
    let missing = || (1..).zip(MIGRATIONS).filter(|(number, _)| *number > found);
    let mut script = sql!("queries/lock_briefly.sql").to_owned();
    for (number, Migration { name, text, .. }) in missing() {
        script.push_str(text);
        script.push_str(&format!(
            "\ninsert into auth_reconciler.migration (version, name) values ({number}, '{name}');\n"
        ));
    }
    script.push_str(sql!("queries/lock_log.sql"));
    if found > 0 {
        script.push_str(sql!("queries/end_epoch.sql"));
    }
    missing().for_each(|(_, migration)| script.push_str(migration.log));
    script
}

/// Functions, views and rights, with the digest that they are known by: hexadecimal digits.
pub(super) fn routines(drop_views: bool, digest: &str) -> String {
    let known = needed_version();
    let drop_views = if drop_views { DROP_VIEWS } else { "" };
    let mut script = [KEEP_GRANTS, drop_views, &ROUTINES.concat()].concat();
    script.push_str(&format!(
        "\nupdate auth_reconciler.migration set routines = '{digest}' where version = {known};"
    ));
    // A daemon that leads reads anew what is noted next.
    script.push_str("\nselect pg_catalog.pg_notify('auth_reconciler', 'scan');");
    script
}

/// What would be run now, for psql, and the version that was found. The transaction of the session may be one that cannot
/// write.
///
/// # Errors
/// It would be refused, or what is there could not be read.
pub(in crate::postgres::schema) async fn to_print(
    client: &Client,
    into_publication: bool,
) -> Result<(i32, String), SchemaError> {
    let found = fitting(client, into_publication).await?;
    let mut script = String::new();
    if found < needed_version() {
        script.push_str(&transaction(&tables(found)));
    }
    script.push_str(&indexes::to_print(client).await?);
    let digest = digest(client).await?;
    let replaced = found < needed_version() || why(client, &digest).await?.is_some();
    if replaced {
        // Views of earlier versions mostly cannot be replaced as they stand. That one cannot shows only when it is tried,
        // and what is printed has no second try.
        let drop_views = (1..needed_version()).contains(&found);
        let (text, names) = (routines(drop_views, &digest), own_names().join("\",\""));
        // As a prepared statement it is the text that is run otherwise, with its parameter.
        script.push_str(&transaction(&format!(
            "{text}\nprepare note_routines (text[]) as\n{NOTE};\nexecute note_routines ('{{\"{names}\"}}');\n\
             deallocate note_routines;"
        )));
    }
    Ok((found, script))
}

/// Under the lock of migrations.
pub(super) fn transaction(text: &str) -> String {
    format!("\n{BEGIN};\n{text}\ncommit;\n")
}
