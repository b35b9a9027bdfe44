//! A witness of a watched table: every status that was ever committed, in order, with the time at which it was heard.
//!
//! A test-only row trigger tells a LISTENing session of each insert, update and delete, so a test learns of a status
//! the moment it stands and also of those that stood for a millisecond. A TRUNCATE is not seen. The trigger is named to
//! run after all others, and the notification carries the trigger's own clock besides the listener's.

use std::collections::HashMap;
use std::panic::Location;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::listener;
use crate::manager::ManagerTable;
use crate::patience::{Caller, PATIENCE, within};

mod heard;

use heard::Heard;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It was inserted.
    Insert,
    /// It was updated, perhaps with what already stood.
    Update,
    /// It was deleted.
    Delete,
}

/// One committed write of a row.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The row's primary key.
    pub id: Uuid,
    /// What happened.
    pub operation: Operation,
    /// `auth_status` after it (before it, for a deletion).
    pub status: Option<String>,
    /// When it was heard (so: committed), for measuring.
    pub at: Instant,
    /// The same on the wall clock.
    pub heard_at: DateTime<Utc>,
    /// The server's clock when the row was written, before its commit.
    pub written_at: DateTime<Utc>,
}

/// The witness of one table; it listens until it is dropped.
pub struct Watcher {
    table: ManagerTable,
    client: Client,
    heard: watch::Sender<Heard>,
    initial: HashMap<Uuid, Option<String>>,
}

impl Watcher {
    /// Puts the trigger on the table and listens; rows that exist count as they stand.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn start(url: &str, table: &ManagerTable) -> Result<Self> {
        let heard = watch::Sender::new(Heard::default());
        let (filled, over) = (heard.clone(), heard.clone());
        let name = table.name().to_owned();
        let hear = move |payload: &str| {
            let payload = serde_json::from_str(payload).context("cannot read a notification")?;
            filled.send_modify(|heard| heard.take_in(payload, &name));
            Ok(())
        };
        let ended = move |why| over.send_modify(|heard| heard.ended = Some(why));
        let client = listener::connect(url, hear, ended).await?;
        client
            .batch_execute(&install(table.name()))
            .await
            .context("cannot install the watcher's trigger")?;
        client.batch_execute("listen test_status").await?;
        // After LISTEN, so nothing is missed; kept apart, so a row read here never comes after what was heard.
        let rows = client
            .query(
                &format!("select id, auth_status from {}", table.name()),
                &[],
            )
            .await?;
        let initial = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            table: table.clone(),
            client,
            heard,
            initial,
        })
    }

    /// Removes the trigger and stops listening.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove(self) -> Result<()> {
        let table = self.table.name();
        self.client
            .batch_execute(&format!("drop trigger if exists zz_test_watch on {table}"))
            .await?;
        // Another watcher may still need the function.
        let function = function(table);
        let _ = self
            .client
            .batch_execute(&format!("drop function if exists {function}() restrict"))
            .await;
        Ok(())
    }

    /// How much has been heard so far, to wait for what comes after it.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.heard.borrow().observations.len()
    }

    /// Everything heard after `mark`, of all rows, in order.
    #[must_use]
    pub fn observations(&self, mark: usize) -> Vec<Observation> {
        self.heard
            .borrow()
            .observations
            .iter()
            .skip(mark)
            .cloned()
            .collect()
    }

    /// Everything heard of one row so far, in order; [`Watcher::statuses`] hears out first.
    #[must_use]
    pub fn history(&self, id: Uuid) -> Vec<Observation> {
        self.heard
            .borrow()
            .observations
            .iter()
            .filter(|seen| seen.id == id)
            .cloned()
            .collect()
    }

    /// Waits until everything is heard that was committed before: a test learns of it in other ways as well, and maybe
    /// sooner.
    async fn hear_out(&self, caller: Caller) -> Result<()> {
        let mut heard = self.heard.subscribe();
        let ring = Uuid::new_v4();
        let payload = format!("{{\"ring\":\"{ring}\"}}");
        self.client
            .execute("select pg_notify('test_status', $1)", &[&payload])
            .await
            .context("the watcher's session has ended")?;
        let rung = heard.wait_for(|heard| heard.rings.contains(&ring) || heard.ended.is_some());
        within(PATIENCE, caller, "the watcher's own ring", rung).await??;
        self.ensure_alive()
    }

    /// The statuses that one row has had since the watcher came, without repetitions.
    ///
    /// # Errors
    /// When the listening session has ended.
    #[track_caller]
    pub fn statuses(&self, id: Uuid) -> impl Future<Output = Result<Vec<String>>> + use<'_> {
        let caller = Location::caller();
        async move {
            self.hear_out(caller).await?;
            Ok(self.heard_statuses(id))
        }
    }

    fn heard_statuses(&self, id: Uuid) -> Vec<String> {
        let first = self.initial.get(&id).cloned().flatten();
        let heard = self.history(id).into_iter().filter_map(|seen| seen.status);
        let mut statuses: Vec<String> = first.into_iter().chain(heard).collect();
        statuses.dedup();
        statuses
    }

    /// The status that stands.
    ///
    /// # Errors
    /// When the listening session has ended.
    #[track_caller]
    pub fn status(&self, id: Uuid) -> impl Future<Output = Result<Option<String>>> + use<'_> {
        let caller = Location::caller();
        async move {
            self.hear_out(caller).await?;
            Ok(match self.history(id).pop() {
                Some(last) => last.status,
                None => self.initial.get(&id).cloned().flatten(),
            })
        }
    }

    /// Waits until the row has this status; returns at once if it has it now.
    ///
    /// # Errors
    /// When that does not happen within the usual patience, or the listening session ended.
    #[track_caller]
    pub fn wait_status(
        &self,
        id: Uuid,
        status: &str,
    ) -> impl Future<Output = Result<()>> + use<'_> {
        let caller = Location::caller();
        let from = {
            let heard = self.heard.borrow();
            heard.observations.iter().rposition(|seen| seen.id == id)
        };
        let stands = match from {
            Some(_) => false,
            None => self
                .initial
                .get(&id)
                .is_some_and(|initial| initial.as_deref() == Some(status)),
        };
        let status = status.to_owned();
        async move {
            if stands {
                return Ok(());
            }
            self.wait_status_from(from.unwrap_or(0), id, &status, PATIENCE, caller)
                .await?;
            Ok(())
        }
    }

    /// Waits until the row gets this status after `mark`; what stood before does not count.
    ///
    /// # Errors
    /// When that does not happen within the usual patience, or the listening session ended.
    #[track_caller]
    pub fn wait_status_after(
        &self,
        mark: usize,
        id: Uuid,
        status: &str,
    ) -> impl Future<Output = Result<Observation>> + use<'_> {
        let caller = Location::caller();
        let status = status.to_owned();
        async move {
            self.wait_status_from(mark, id, &status, PATIENCE, caller)
                .await
        }
    }

    /// Waits for the first observation after `mark` that satisfies `condition`, with a limit of one's own.
    ///
    /// # Errors
    /// When none comes within `limit`, or the listening session ended.
    #[track_caller]
    pub fn wait_for(
        &self,
        mark: usize,
        limit: Duration,
        what: &str,
        condition: impl FnMut(&Observation) -> bool,
    ) -> impl Future<Output = Result<Observation>> {
        let caller = Location::caller();
        let what = what.to_owned();
        async move { self.wait_from(mark, limit, caller, &what, condition).await }
    }

    async fn wait_status_from(
        &self,
        mark: usize,
        id: Uuid,
        status: &str,
        limit: Duration,
        caller: Caller,
    ) -> Result<Observation> {
        let what = format!("status {status} of {id}");
        let has_it = |seen: &Observation| {
            seen.id == id
                && seen.operation != Operation::Delete
                && seen.status.as_deref() == Some(status)
        };
        let waited = self.wait_from(mark, limit, caller, &what, has_it).await;
        waited.with_context(|| format!("its statuses so far: {:?}", self.heard_statuses(id)))
    }

    async fn wait_from(
        &self,
        mark: usize,
        limit: Duration,
        caller: Caller,
        what: &str,
        mut condition: impl FnMut(&Observation) -> bool,
    ) -> Result<Observation> {
        let mut heard = self.heard.subscribe();
        let mut next = mark;
        let search = async {
            loop {
                {
                    let heard = heard.borrow_and_update();
                    if let Some(found) = heard
                        .observations
                        .iter()
                        .skip(next)
                        .find(|seen| condition(seen))
                    {
                        return Ok(found.clone());
                    }
                    next = next.max(heard.observations.len());
                    if let Some(error) = &heard.ended {
                        return Err(anyhow!(
                            "{caller}: the watcher's session ended while waiting for {what}: {error}"
                        ));
                    }
                }
                heard.changed().await?;
            }
        };
        within(limit, caller, what, search).await?
    }

    /// Fails if the listening session has ended, so that silence is not taken for quiet.
    ///
    /// # Errors
    /// When it has.
    pub fn ensure_alive(&self) -> Result<()> {
        ensure!(
            self.heard.borrow().ended.is_none(),
            "the watcher's session has ended"
        );
        Ok(())
    }
}

/// The trigger's function lives beside its table, so that nothing is left when the table's schema is dropped.
fn function(table: &str) -> String {
    let schema = table.split_once('.').map_or("public", |(schema, _)| schema);
    format!("{schema}.zz_test_watch")
}

fn install(table: &str) -> String {
    let function = function(table);
    format!(
        "select pg_advisory_lock(7777);
         create or replace function {function}() returns trigger language plpgsql as $body$
         declare
           seen record := coalesce(new, old);
         begin
           perform pg_notify('test_status', json_build_object(
             'table', tg_table_schema || '.' || tg_table_name,
             'id', seen.id, 'operation', tg_op, 'status', seen.auth_status,
             'written_at', extract(epoch from clock_timestamp())::float8)::text);
           return null;
         end $body$;
         drop trigger if exists zz_test_watch on {table};
         create trigger zz_test_watch after insert or update or delete on {table}
           for each row execute function {function}();
         select pg_advisory_unlock(7777);"
    )
}
