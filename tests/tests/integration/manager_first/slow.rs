//! A trigger of the manager's that sleeps in our write: who waits for it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::Daemon;
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Stub};
use uuid::Uuid;

use crate::scene::{KEY, Scene};

const SLEEPS: &str = "
    create function public.sleep() returns trigger language plpgsql as
        $$ begin perform pg_sleep(5); return new; end $$;
    create trigger sleep before update of auth_status on public.slow_instances
        for each row execute function public.sleep()";

const ASLEEP: &str = "select exists (select from pg_stat_activity
    where datname = current_database() and application_name like 'auth-reconciler pool %' and wait_event = 'PgSleep')";

/// Twenty of them: one after another they take more than a minute and a half.
#[tokio::test]
async fn a_table_whose_trigger_sleeps_delays_no_other() -> Result<()> {
    let scene = Scene::shared().await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let slow = ManagerTable::message_instances_named("public.slow_instances");
    slow.create(&scene.manager).await?;
    scene.manager.batch_execute(SLEEPS).await?;
    let tables = (
        "AUTH_RECONCILER_TABLE",
        "public.message_instances,public.slow_instances",
    );
    let _daemon = Daemon::start(&scene.database, &[tables]).await?;
    for _ in 0..20 {
        let id = Uuid::new_v4();
        slow.insert(&scene.manager, id, Some(stub.port()), Some(KEY))
            .await?;
    }
    scene.eventually(ASLEEP).await?;
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let id = scene.instance(stub.port()).await?;
        scene
            .eventually(&format!(
                "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
            ))
            .await?;
        took.push(began.elapsed());
    }
    took.sort();
    ensure!(took[1] < Duration::from_secs(1), "they took {took:?}");
    ensure!(
        scene.value::<bool>(ASLEEP).await?,
        "meanwhile it still sleeps"
    );
    Ok(())
}

/// Some rows of the table, as those of one customer. Two of them take longer than a batch may, so no batch holds more of
/// them than one.
#[tokio::test]
async fn a_fresh_row_does_not_wait_for_all_those_of_its_table_that_are_slow() -> Result<()> {
    const SLOW: usize = 4;
    let scene = Scene::shared().await?;
    let (slow, other) = (
        Stub::start(Behaviour::Ready).await?,
        Stub::start(Behaviour::Ready).await?,
    );
    let sleeps = format!(
        "create function public.sleep() returns trigger language plpgsql as $$
         begin
            if new.port_api = {} then perform pg_sleep(5); end if;
            return new;
         end $$;
         create trigger sleep before update of auth_status on public.message_instances
            for each row execute function public.sleep()",
        slow.port()
    );
    scene.manager.batch_execute(&sleeps).await?;
    let _daemon = Daemon::start(&scene.database, &[]).await?;
    for _ in 0..SLOW {
        scene.instance(slow.port()).await?;
    }
    scene.eventually(ASLEEP).await?;
    let id = scene.instance(other.port()).await?;
    scene
        .eventually(&format!(
            "select auth_status = 'client_ready' from public.message_instances where id = '{id}'"
        ))
        .await?;
    let written = format!(
        "select count(*) from public.message_instances where port_api = {} and auth_status = 'client_ready'",
        slow.port()
    );
    let before: i64 = scene.value(&written).await?;
    ensure!(
        before < SLOW as i64 - 1,
        "{before} slow ones went before it"
    );
    scene
        .eventually(&format!("select ({written}) = {SLOW}"))
        .await
}
