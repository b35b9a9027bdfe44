//! How columns of `instance` are read: what is null, larger than we count, or of a newer version is no error.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serializer};

use crate::container::Sighting;
use crate::corrections::Corrections;
use crate::{AuthStatus, Reason};

pub(super) fn status<'de, D: Deserializer<'de>>(column: D) -> Result<Option<AuthStatus>, D::Error> {
    let word = Option::<String>::deserialize(column)?;
    Ok(word.as_deref().and_then(AuthStatus::parse))
}

pub(super) fn reason<'de, D: Deserializer<'de>>(column: D) -> Result<Option<Reason>, D::Error> {
    let word = Option::<String>::deserialize(column)?;
    Ok(word.as_deref().and_then(Reason::parse))
}

#[allow(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
pub(super) fn write_reason<S: Serializer>(
    reason: &Option<Reason>,
    column: S,
) -> Result<S::Ok, S::Error> {
    match reason {
        Some(reason) => column.serialize_str(reason.as_str()),
        None => column.serialize_none(),
    }
}

/// A `bigint` that counts.
pub(crate) fn count<'de, D: Deserializer<'de>>(column: D) -> Result<u32, D::Error> {
    let count = Option::<i64>::deserialize(column)?.unwrap_or(0);
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A column that is null in what an earlier version recorded.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    column: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(column)?.unwrap_or_default())
}

/// The times of [`Corrections::recent`], the newest first.
pub(crate) fn recent<'de, D: Deserializer<'de>>(column: D) -> Result<Recent, D::Error> {
    let times = Option::<Vec<DateTime<Utc>>>::deserialize(column)?;
    Ok(Corrections::recent(times.unwrap_or_default()))
}

/// Writes no place that is empty.
pub(crate) fn write_recent<S: Serializer>(times: &Recent, column: S) -> Result<S::Ok, S::Error> {
    column.collect_seq(times.iter().flatten())
}

type Recent = [Option<DateTime<Utc>>; crate::corrections::RECENT];

/// The columns of a container, of which the id says whether there is one.
pub(super) fn sighting<'de, D: Deserializer<'de>>(
    columns: D,
) -> Result<Option<Sighting>, D::Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Columns {
        container_engine: Option<String>,
        container_id: Option<String>,
        container_name: Option<String>,
        container_state: Option<String>,
        container_started_at: Option<DateTime<Utc>>,
        container_network: Option<String>,
    }
    let columns = Columns::deserialize(columns)?;
    Ok(columns.container_id.map(|id| Sighting {
        engine: columns.container_engine.unwrap_or_default(),
        id,
        name: columns.container_name.unwrap_or_default(),
        state: columns.container_state.unwrap_or_default(),
        started_at: columns.container_started_at,
        network: columns.container_network.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::Recorded;
    use super::*;

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds))
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        let recorded = Recorded {
            status: Some(AuthStatus::QrReady),
            reason: Some(Reason::Ready),
            ready_at: at(1),
            started_at: at(2),
            account_at: at(3),
            attempts: 4,
            misses: 5,
            first_miss_at: at(6),
            not_ready_since: at(13),
            established: true,
            corrections: Corrections {
                spent: 7,
                window_start: at(8),
                contested: 9,
                hold_until: at(10),
                recent: Corrections::recent(vec![DateTime::UNIX_EPOCH; 3]),
            },
            next_attempt_at: at(11),
            sighting: Some(Sighting {
                engine: "engine".to_owned(),
                id: "id".to_owned(),
                name: "name".to_owned(),
                state: "running".to_owned(),
                started_at: at(12),
                network: "network".to_owned(),
            }),
        };
        for recorded in [recorded, Recorded::default()] {
            let written = serde_json::to_string(&recorded).unwrap();
            let read: Recorded = serde_json::from_str(&written).unwrap();
            assert_eq!(read, recorded);
        }
    }

    /// As the server shows a row: times with an offset, columns that are none of these, nulls of an earlier version, words
    /// of a later one.
    #[test]
    fn a_row_of_another_version_is_read_as_far_as_it_is_understood() {
        let row = r#"{
            "looks": 3, "writing": null, "auth_status": "of the future", "reason": "OfTheFuture",
            "ready_at": "1970-01-01T02:00:01.5+02:00", "attempts": 5000000000, "misses": -1, "established": null,
            "foreign_at": null, "contested": 0, "container_id": "c", "container_name": null
        }"#;
        let read: Recorded = serde_json::from_str(row).unwrap();
        let ready_at = at(1).map(|at| at + TimeDelta::milliseconds(500));
        let sighting = Sighting {
            engine: String::new(),
            id: "c".to_owned(),
            name: String::new(),
            state: String::new(),
            started_at: None,
            network: String::new(),
        };
        let understood = Recorded {
            ready_at,
            attempts: u32::MAX,
            misses: u32::MAX,
            sighting: Some(sighting),
            ..Recorded::default()
        };
        assert_eq!(read, understood);
    }

    #[test]
    fn without_an_id_there_is_no_container() {
        let row = r#"{"container_id": null, "container_engine": null, "container_state": "x"}"#;
        let read: Recorded = serde_json::from_str(row).unwrap();
        assert_eq!(read.sighting, None);
    }
}
