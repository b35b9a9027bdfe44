//! An address at which nobody ever answered says nothing of the instances.

use anyhow::Result;
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::stub::{Behaviour, Fleet};
use uuid::Uuid;

use super::{insert_ready, prepared};
use crate::cli::expect;

#[tokio::test]
async fn doctor_asks_who_counts_as_ready_and_says_what_to_set() -> Result<()> {
    let (database, client, table) = prepared().await?;
    let url = database.url();
    let doctor = async |template: &str| {
        let probe = [
            ("AUTH_RECONCILER_PROBE_URL", template),
            ("AUTH_RECONCILER_PROBE_TIMEOUT", "3s"),
        ];
        run_command(url, &["doctor"], &probe).await
    };
    let here = "http://127.0.0.1:{port}";
    run_command(url, &["migrate"], &[]).await?;
    let nobody = doctor(here).await?;
    expect(&nobody, 0, &["none counts as ready, so none was asked"])?;
    let fleet = Fleet::start(5, Behaviour::Ready).await?;
    for port in fleet.ports() {
        insert_ready(&client, &table, Uuid::new_v4(), port).await?;
    }
    let all = doctor(here).await?;
    expect(
        &all,
        0,
        &["ok    instances    3 of 3 that count as ready answer"],
    )?;
    // Nobody listens on this address of this machine.
    let elsewhere = doctor("http://127.0.53.98:{port}").await?;
    let said = [
        "FAIL  instances    none of 3 that count as ready answers at http://127.0.53.98:{port}: 127.0.53.98:",
        "refuses the connection",
        "set AUTH_RECONCILER_PROBE_URL",
        "http://wweb-{id}-api:{port}",
    ];
    expect(&elsewhere, 1, &said)?;
    // Somebody in between is nobody.
    fleet.set(&Behaviour::Status(403)).await?;
    let proxy = doctor(here).await?;
    expect(&proxy, 1, &["FAIL  instances", "HTTP status 403"])?;
    drop(client);
    database.close().await
}
