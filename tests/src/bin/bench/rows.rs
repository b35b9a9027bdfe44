//! Rows as they stand before something is measured, and when what was measured was committed.
//!
//! Rows are put beside the triggers, and what would have been recorded of them is copied from a row that was really
//! looked at: 100,000 looks before each round would take minutes. Whatever the schema's tables hold by now is copied as
//! it is, so this knows no column of them but those that must differ.

use anyhow::{Result, ensure};
use tokio_postgres::Client;
use uuid::Uuid;

/// What a row of the watched table looks like before it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Pending, without a key.
    Waiting,
    /// Ready, with a key.
    Ready,
}

/// `count` rows of one kind, found again by their tag.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) tag: String,
    pub(crate) count: usize,
    pub(crate) state: State,
    /// Ids that say which row it is, for pgbench, instead of random ones.
    pub(crate) numbered: bool,
}

impl Rows {
    /// Waiting for their key.
    pub(crate) fn waiting(count: usize) -> Self {
        Self {
            tag: Uuid::new_v4().simple().to_string(),
            count,
            state: State::Waiting,
            numbered: false,
        }
    }

    /// Ready; the first row has number 1.
    pub(crate) fn ready(count: usize) -> Self {
        Self {
            state: State::Ready,
            numbered: true,
            ..Self::waiting(count)
        }
    }
}

/// An SQL expression of the id of the row with this number.
pub(crate) fn id_of(number: &str) -> String {
    format!("('00000000-0000-4000-8000-' || lpad(({number})::text, 12, '0'))::uuid")
}

/// Puts the rows into `table`, with these ports one after the other. `client` must be one that no trigger fires for.
pub(crate) async fn seed(client: &Client, table: &str, rows: &Rows, ports: &[u16]) -> Result<()> {
    let id = if rows.numbered {
        id_of("n")
    } else {
        "gen_random_uuid()".to_owned()
    };
    let (status, key) = match rows.state {
        State::Waiting => ("pending", "null"),
        State::Ready => ("client_ready", "'key-' || n"),
    };
    let ports: Vec<i32> = ports.iter().copied().map(i32::from).collect();
    let statement = format!(
        "insert into {table} (id, company_id, provider, port_api, type_instance, token, auth_status, api_key)
         select {id}, $1, 'telegram', ($2::int[])[1 + n % cardinality($2::int[])], array['api'], 'token', '{status}', {key}
         from generate_series(1, {}) as n",
        rows.count
    );
    let put = client.execute(&statement, &[&rows.tag, &ports]).await?;
    ensure!(put == rows.count as u64, "{put} rows, not {}", rows.count);
    Ok(())
}

/// Copies what was recorded of the row `like` to each row with this tag.
pub(crate) async fn copy_record(client: &Client, table: &str, tag: &str, like: Uuid) -> Result<()> {
    let statement = format!(
        "insert into auth_reconciler.instance
         select forged.*
         from auth_reconciler.instance as known
         cross join {table} as row
         cross join lateral jsonb_populate_record(null::auth_reconciler.instance, to_jsonb(known)
             || jsonb_build_object('instance_id', row.id, 'version', gen_random_uuid())) as forged
         where known.instance_id = $2 and row.company_id = $1"
    );
    let copied = client.execute(&statement, &[&tag, &like]).await?;
    ensure!(copied > 0, "nothing was recorded of the row to copy");
    Ok(())
}

/// Fills one of the tables of history with copies of one of its entries, of as many instances as would have left them.
pub(crate) async fn fill_history(client: &Client, table: &str, entries: usize) -> Result<()> {
    const PER_INSTANCE: usize = 10;
    let entries = i64::try_from(entries)?;
    let instances = (entries / PER_INSTANCE as i64).max(1);
    let statement = format!(
        "insert into auth_reconciler.{table} overriding system value
         select forged.*
         from (select * from auth_reconciler.{table} limit 1) as known
         cross join generate_series(1, $1::bigint) as n
         cross join lateral jsonb_populate_record(null::auth_reconciler.{table}, to_jsonb(known)
             || jsonb_build_object(
                 'id', nextval(pg_get_serial_sequence('auth_reconciler.{table}', 'id')),
                 'instance_id', {id},
                 'at', now() - n * interval '1 millisecond')) as forged",
        id = id_of("n % $2::bigint"),
    );
    let filled = client.execute(&statement, &[&entries, &instances]).await?;
    ensure!(
        filled == entries as u64,
        "there is no entry of {table} to copy"
    );
    client
        .batch_execute(&format!("vacuum analyze auth_reconciler.{table}"))
        .await?;
    Ok(())
}
