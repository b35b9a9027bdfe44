//! A container that is gone, and no engine that tells of it: its name, its address or the route to it is gone too. That is
//! silence, and is believed where somebody else answers.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use auth_reconciler_tests::docker::fake::{FakeEngine, Reply};
use auth_reconciler_tests::stub::{Behaviour, Fleet, Stub};
use serde_json::{Value, json};
use uuid::Uuid;

use super::names::Names;
use super::{insert_ready, prepared, problem};
use crate::arena::{KEY, Scene};
use crate::scene::eventually;

const HASTY: [(&str, &str); 4] = [
    ("AUTH_RECONCILER_MISSES", "2"),
    ("AUTH_RECONCILER_MISS_WINDOW", "500ms"),
    ("AUTH_RECONCILER_BACKOFF_MAX", "1s"),
    ("AUTH_RECONCILER_PROBE_TIMEOUT", "2s"),
];

/// An address that nobody has, and a route to it of this kind while this lives.
struct Route {
    kind: &'static str,
    address: String,
}

impl Route {
    /// `None` where this machine lets nobody set routes.
    fn set(kind: &'static str) -> Option<Self> {
        // Of those that RFC 2544 keeps for measuring networks, one for each process: another suite on this machine may
        // set its own, and takes it away when it ends.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = format!("198.18.{high}.{low}");
        let set = ip(&["route", "replace", kind, &address]);
        if !set {
            eprintln!("skipped: no route can be set here (it takes root)");
        }
        set.then_some(Self { kind, address })
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        ip(&["route", "del", self.kind, &self.address]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    let done = command.args(arguments).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// The name of a container.
fn host(id: Uuid) -> String {
    format!("wweb-{id}-api")
}

/// Two that are ready, asked by their names.
async fn by_name(names: &Names, fleet: &Fleet) -> Result<(Scene, Vec<Uuid>)> {
    let script = names.script();
    let mut settings = HASTY.to_vec();
    settings.push(("AUTH_RECONCILER_PROBE_URL", "http://wweb-{id}-api:{port}"));
    let scene = Scene::serve_within(&Names::wrapper(&script), prepared().await?, &settings).await?;
    let ids: Vec<_> = fleet.ports().iter().map(|_| Uuid::new_v4()).collect();
    names.know(&ids.iter().copied().map(host).collect::<Vec<_>>())?;
    for (id, port) in ids.iter().zip(fleet.ports()) {
        let (table, client) = (&scene.table, &scene.client);
        table.insert(client, *id, Some(port), Some(KEY)).await?;
    }
    let count = i64::try_from(ids.len())?;
    scene.all_recorded(count, "Ready", "insert").await?;
    Ok((scene, ids))
}

#[tokio::test]
async fn a_name_that_is_gone_is_believed_beside_a_witness_and_doubted_without() -> Result<()> {
    let Some(names) = Names::new("files")? else {
        return Ok(());
    };
    let fleet = Fleet::start(4, Behaviour::Ready).await?;
    let (scene, ids) = by_name(&names, &fleet).await?;
    let (gone, others) = ids.split_first().expect("four");
    let watcher = scene.watch().await?;
    names.know(&others.iter().copied().map(host).collect::<Vec<_>>())?;
    let ask = "select auth_reconciler.reconcile($1)";
    scene.client.execute(ask, &[gone]).await?;
    watcher.wait_status(*gone, "failed").await?;
    let message = scene.status(*gone).await?["message"].to_string();
    ensure!(message.contains("cannot be resolved"), "{message}");
    ensure!(problem(&scene, "NotAsked").await?.is_none());

    names.know(&[])?;
    for id in others {
        scene.client.execute(ask, &[id]).await?;
    }
    let doubt =
        "select exists (select from auth_reconciler.problem_details where problem = 'Doubt')";
    eventually(&scene.client, doubt).await?;
    for id in others {
        let status = scene.table.status(&scene.client, *id).await?;
        assert_eq!(status.as_deref(), Some("client_ready"));
    }
    Ok(())
}

#[tokio::test]
async fn a_host_without_a_route_is_believed_beside_a_witness() -> Result<()> {
    for kind in ["unreachable", "blackhole"] {
        let (Some(names), Some(route)) = (Names::new("files")?, Route::set(kind)) else {
            return Ok(());
        };
        let fleet = Fleet::start(2, Behaviour::Ready).await?;
        let (scene, ids) = by_name(&names, &fleet).await?;
        let watcher = scene.watch().await?;
        names.know_at(&[
            (&host(ids[0]), &route.address),
            (&host(ids[1]), "127.0.0.1"),
        ])?;
        let ask = "select auth_reconciler.reconcile($1)";
        scene.client.execute(ask, &[&ids[0]]).await?;
        watcher.wait_status(ids[0], "failed").await?;
        let message = scene.status(ids[0]).await?["message"].to_string();
        ensure!(message.contains("cannot be reached"), "{kind}: {message}");
        ensure!(problem(&scene, "NotAsked").await?.is_none(), "{kind}");
    }
    Ok(())
}

/// Shows these containers, all of them running on this machine.
fn show(fake: &FakeEngine, ids: &[Uuid]) {
    let network = json!({"Networks": {"n": {"EndpointID": "e", "IPAddress": "127.0.0.1"}}});
    let listed: Vec<Value> = ids
        .iter()
        .map(|id| {
            fake.reply(
                &format!("/containers/{id}/json"),
                Reply::Json(
                    200,
                    json!({
                        "Id": id, "Name": "/a-container", "NetworkSettings": network,
                        "State": {"Status": "running", "StartedAt": "2026-11-01T00:00:00.000000001Z"},
                    }),
                ),
            );
            json!({
                "Id": id, "Created": 1_793_491_200, "State": "running", "NetworkSettings": network,
                "Labels": {"wweb.instance.id": id, "wweb.instance.type": "api"},
            })
        })
        .collect();
    fake.list(json!(listed));
}

#[tokio::test]
async fn a_container_s_address_is_known_while_the_engine_is_out_of_sight() -> Result<()> {
    let fake = FakeEngine::start().await?;
    let (gone, witness) = (
        Stub::start(Behaviour::Ready).await?,
        Stub::start(Behaviour::Ready).await?,
    );
    let ids = [Uuid::new_v4(), Uuid::new_v4()];
    show(&fake, &ids);
    let url = fake.url();
    let mut settings = HASTY.to_vec();
    settings.push(("AUTH_RECONCILER_DOCKER", &url));
    settings.push(("AUTH_RECONCILER_PROBE_URL", "http://{container_ip}:{port}"));
    let scene = Scene::start(&settings).await?;
    let (table, client) = (&scene.table, &scene.client);
    let watcher = scene.watch().await?;
    for (id, stub) in ids.iter().zip([&gone, &witness]) {
        table
            .insert(client, *id, Some(stub.port()), Some(KEY))
            .await?;
        watcher.wait_status(*id, "client_ready").await?;
    }
    // The engine is gone, socket and all.
    drop(fake);
    let unseen = "select bool_or(engine like '%not seen%' or remark like '%out of sight%')
        from auth_reconciler.reconciler_details";
    eventually(client, unseen).await?;
    gone.set(Behaviour::NotListening).await?;
    let ask = "select auth_reconciler.reconcile($1)";
    client.execute(ask, &[&ids[0]]).await?;
    watcher.wait_status(ids[0], "failed").await?;
    ensure!(problem(&scene, "NotAsked").await?.is_none());

    // One that the engine has never shown.
    let unknown = Uuid::new_v4();
    insert_ready(client, table, unknown, witness.port()).await?;
    let told =
        "select exists (select from auth_reconciler.problem_details where problem = 'NotAsked')";
    eventually(client, told).await?;
    let said = problem(&scene, "NotAsked").await?.unwrap_or_default();
    ensure!(said.contains("engine is out of sight"), "{said}");
    let status = table.status(client, unknown).await?;
    assert_eq!(status.as_deref(), Some("client_ready"));
    Ok(())
}
