//! The witness of every look that was recorded: a LISTENing session, and a trigger on our own table that tells it.

use std::panic::Location;

use anyhow::{Context, Result, bail, ensure};
use auth_reconciler_tests::listener;
use auth_reconciler_tests::patience::{Caller, PATIENCE, within};
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::Client;
use uuid::Uuid;

/// One record: what was committed to `auth_reconciler.instance`.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    /// Number of the watched table.
    pub(crate) watched_id: i64,
    /// The instance was forgotten; the columns are those it had.
    pub(crate) forgotten: bool,
    columns: Value,
}

impl Record {
    /// A column.
    pub(crate) fn get(&self, column: &str) -> &Value {
        &self.columns[column]
    }

    /// A column with text.
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.columns[column].as_str()
    }

    /// Looks recorded so far.
    pub(crate) fn looks(&self) -> i64 {
        self.columns["looks"].as_i64().unwrap_or_default()
    }

    /// The reason of the verdict.
    pub(crate) fn reason(&self) -> &str {
        self.text("reason").unwrap_or_default()
    }
}

#[derive(Default)]
struct Heard {
    records: Vec<Record>,
    ended: Option<String>,
}

/// The witness of all records; it listens until it is dropped.
pub(crate) struct Records {
    heard: watch::Sender<Heard>,
    _client: Client,
}

const WITNESS: &str = "
    create function public.test_recorded() returns trigger language plpgsql as $body$
    begin
        if tg_op = 'UPDATE' and new.writing is not null then
            return null;
        end if;
        perform pg_notify('test_recorded', jsonb_build_object(
            'forgotten', tg_op = 'DELETE', 'columns', to_jsonb(coalesce(new, old)))::text);
        return null;
    end $body$;
    create trigger test_recorded after update or delete on auth_reconciler.instance
        for each row execute function public.test_recorded();
    listen test_recorded";

impl Records {
    /// Witnesses from now on. A first record is an insert followed by an update; only the update is told, and of one
    /// that writes the status only the last.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let heard = watch::Sender::new(Heard::default());
        let (filled, over) = (heard.clone(), heard.clone());
        let hear = move |payload: &str| {
            let record = parse(payload)?;
            filled.send_modify(|heard| heard.records.push(record));
            Ok(())
        };
        let ended = move |why| over.send_modify(|heard| heard.ended = Some(why));
        let client = listener::connect(url, hear, ended).await?;
        client
            .batch_execute(WITNESS)
            .await
            .context("cannot install the witness")?;
        Ok(Self {
            heard,
            _client: client,
        })
    }

    /// How much was recorded so far, to wait for what comes after it.
    pub(crate) fn mark(&self) -> usize {
        self.heard.borrow().records.len()
    }

    /// Everything recorded of an instance after `mark`.
    pub(crate) fn all(&self, mark: usize, id: Uuid) -> Vec<Record> {
        let heard = self.heard.borrow();
        let new = heard.records.iter().skip(mark);
        new.filter(|record| record.id == id).cloned().collect()
    }

    /// Waits for the first record of an instance after `mark`.
    #[track_caller]
    pub(crate) fn of(
        &self,
        mark: usize,
        id: Uuid,
    ) -> impl Future<Output = Result<Record>> + use<'_> {
        let caller = Location::caller();
        async move {
            let what = format!("a record of {id}");
            self.wait_from(caller, mark, &what, |record| record.id == id)
                .await
        }
    }

    /// Waits for the first record of an instance after `mark` that gives it this reason.
    #[track_caller]
    pub(crate) fn reason(
        &self,
        mark: usize,
        id: Uuid,
        reason: &'static str,
    ) -> impl Future<Output = Result<Record>> + use<'_> {
        let caller = Location::caller();
        async move {
            self.wait_from(caller, mark, reason, |record| {
                record.id == id && !record.forgotten && record.reason() == reason
            })
            .await
        }
    }

    /// Waits until an instance is forgotten, after `mark`.
    #[track_caller]
    pub(crate) fn forgotten(
        &self,
        mark: usize,
        id: Uuid,
    ) -> impl Future<Output = Result<Record>> + use<'_> {
        let caller = Location::caller();
        async move {
            self.wait_from(caller, mark, "an instance to be forgotten", |record| {
                record.id == id && record.forgotten
            })
            .await
        }
    }

    /// Waits for the first record after `mark` that satisfies `condition`.
    #[track_caller]
    pub(crate) fn wait(
        &self,
        mark: usize,
        what: &str,
        condition: impl FnMut(&Record) -> bool,
    ) -> impl Future<Output = Result<Record>> {
        let caller = Location::caller();
        async move { self.wait_from(caller, mark, what, condition).await }
    }

    pub(super) async fn wait_from(
        &self,
        caller: Caller,
        mark: usize,
        what: &str,
        mut condition: impl FnMut(&Record) -> bool,
    ) -> Result<Record> {
        let mut heard = self.heard.subscribe();
        let mut next = mark;
        let found = heard.wait_for(|heard| {
            let found = heard.records.iter().skip(next).position(&mut condition);
            match found {
                Some(place) => next += place,
                None => next = next.max(heard.records.len()),
            }
            found.is_some() || heard.ended.is_some()
        });
        let waited = within(PATIENCE, caller, what, found).await;
        let heard = waited.with_context(|| self.last(mark))??;
        match heard.records.get(next) {
            Some(record) => Ok(record.clone()),
            None => bail!("{caller}: the witness ended: {:?}", heard.ended),
        }
    }

    /// The last records after `mark`, for whoever waited in vain for another one.
    fn last(&self, mark: usize) -> String {
        let heard = self.heard.borrow();
        let new = heard.records.get(mark..).unwrap_or_default();
        let told = new.iter().rev().take(10).rev().map(|record| {
            let text = |column| record.text(column).unwrap_or_default();
            let (cause, message) = (text("cause"), text("message"));
            format!("{} {} {cause}: {message}", record.id, record.reason())
        });
        format!("recorded last:\n{}", told.collect::<Vec<_>>().join("\n"))
    }
}

fn parse(payload: &str) -> Result<Record> {
    let mut payload: Value = serde_json::from_str(payload)?;
    let columns = payload["columns"].take();
    ensure!(columns.is_object(), "a record without columns");
    Ok(Record {
        id: Uuid::parse_str(columns["instance_id"].as_str().unwrap_or_default())?,
        watched_id: columns["watched_id"].as_i64().unwrap_or_default(),
        forgotten: payload["forgotten"] == true,
        columns,
    })
}
