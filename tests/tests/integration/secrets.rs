//! No secret leaves (I7): not a key, a token, an account or a password, nor the beginning of one, whatever happens.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::postgres::{Cluster, ClusterOptions};
use auth_reconciler_tests::stub::{Behaviour, Provider, Stub};
use uuid::Uuid;

use crate::scene::{Eavesdropper, Scene};
use crate::unwritable::REFUSED;

/// How much of a secret is too much.
const PREFIX: usize = 6;

const PASSWORD: &str = "Pw7vQx9-the-password-of-the-daemon";
const WRONG_PASSWORD: &str = "Wp4zKy2-a-password-that-is-wrong";

/// Everything that must not be seen, by what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// A new secret that begins like no other.
    fn make(&mut self, what: &str) -> String {
        let random = Uuid::new_v4().simple().to_string();
        let secret = format!("Z{}-{}", &random[..8], &random[8..]);
        self.keep(what, &secret);
        secret
    }

    fn keep(&mut self, what: &str, secret: &str) {
        let number = self.0.len();
        self.0
            .insert(format!("{what} ({number})"), secret.trim().to_owned());
    }

    /// Fails if `text` holds a beginning of a secret; says which, and shows the line without it.
    fn ensure_absent(&self, place: &str, text: &str) -> Result<()> {
        for (what, secret) in &self.0 {
            let prefix: String = secret.chars().take(PREFIX).collect();
            let line = text.lines().find(|line| line.contains(&prefix));
            ensure!(
                line.is_none(),
                "{place} shows the beginning of {what}: {}",
                line.unwrap_or_default().replace(&prefix, "******")
            );
        }
        Ok(())
    }
}

/// An instance for each kind of answer and each kind of key, with a token and an account of its own.
async fn every_kind(scene: &Scene, secrets: &mut Secrets) -> Result<Vec<Stub>> {
    let echoed = secrets.make("a key that the API repeats");
    let says = |text: &str| Behaviour::json(text);
    let behaviours = vec![
        Behaviour::Ready,
        Behaviour::ReadyWithoutInfo,
        Behaviour::Disconnected,
        Behaviour::Error,
        Behaviour::NotListening,
        Behaviour::AcceptThenReset,
        Behaviour::Hang,
        Behaviour::Status(401),
        Behaviour::Status(403),
        Behaviour::Status(404),
        Behaviour::Status(500),
        Behaviour::HugeBody(100_000),
        Behaviour::Redirect(format!("http://127.0.0.1:1/{echoed}")),
        says(&format!("Bearer {echoed}")),
        says(&format!(r#"{{"state":"{echoed}"}}"#)),
        says(&format!(r#"{{"state":["{echoed}"]}}"#)),
        says(&format!(
            r#"{{"state":"READY","info":"{echoed}","{echoed}":1}}"#
        )),
        says(&format!(
            r#"{{"error":"{echoed}","state":"ERROR","status":"{echoed}"}}"#
        )),
    ];
    let mut stubs = Vec::new();
    for behaviour in behaviours {
        let key = secrets.make("an API key");
        let stub = Stub::start(behaviour).await?;
        secretive(scene, secrets, "telegram", i32::from(stub.port()), &key).await?;
        stubs.push(stub);
    }
    let authenticated = Stub::start_for(Provider::WhatsAppWeb, Behaviour::Authenticated).await?;
    let odd_keys = [
        "\r\nX-Injected: yes".to_owned(),
        "ü".to_owned(),
        "\u{7f}".to_owned(),
        " ".to_owned(),
        "k".repeat(100_000),
    ];
    for odd in odd_keys {
        let key = format!("{}{odd}", secrets.make("an odd API key"));
        let port = i32::from(stubs[0].port());
        secretive(scene, secrets, "telegram", port, &key).await?;
    }
    for port in [0, -1, 70_000] {
        let key = secrets.make("the API key of an odd port");
        secretive(scene, secrets, "telegram", port, &key).await?;
    }
    for provider in ["whatsappweb", "a provider of the future"] {
        let key = secrets.make("another provider's API key");
        let port = i32::from(authenticated.port());
        secretive(scene, secrets, provider, port, &key).await?;
    }
    stubs.push(authenticated);
    Ok(stubs)
}

async fn secretive(
    scene: &Scene,
    secrets: &mut Secrets,
    provider: &str,
    port: i32,
    key: &str,
) -> Result<Uuid> {
    let id = Uuid::new_v4();
    let (table, manager) = (&scene.table, &scene.manager);
    table
        .insert_provider(manager, id, provider, Some(port), Some(key))
        .await?;
    let token = secrets.make("a token");
    table.set(manager, id, "token", &token).await?;
    let account = secrets.make("an account");
    table.save_account(manager, id, Some(&account)).await?;
    Ok(id)
}

/// Rows on which the daemon's own write fails or is commented on: what the server says then holds the row.
async fn hostile_rows(scene: &Scene, secrets: &mut Secrets, port: u16) -> Result<()> {
    let mut ids = Vec::new();
    for what in ["constraint", "raise", "notice", "override", "cast"] {
        let key = secrets.make(&format!("the API key of a row with a {what}"));
        let id = Uuid::new_v4();
        let (table, manager) = (&scene.table, &scene.manager);
        table
            .insert(manager, id, Some(port), None)
            .await
            .context(what)?;
        ids.push((id, key));
    }
    let id = |place: usize| ids[place].0;
    scene
        .manager
        .batch_execute(&format!(
            "alter table public.message_instances add constraint never_ready
                 check (id <> '{}' or auth_status <> 'client_ready') not valid;
             create function public.hostile() returns trigger language plpgsql as $body$
             begin
                 if new.auth_status = 'client_ready' and new.id = '{}' then
                     raise exception 'no: %', new using detail = new::text, hint = new::text;
                 elsif new.id = '{}' then
                     raise warning 'a warning: %', new;
                     raise notice 'a notice: %', new;
                 elsif new.id = '{}' then
                     new.auth_status := 'pending';
                 elsif new.auth_status = 'client_ready' and new.id = '{}' then
                     new.port_mcp := new.api_key::integer;
                 end if;
                 return new;
             end $body$;
             create trigger hostile before update on public.message_instances
                 for each row execute function public.hostile()",
            id(0),
            id(1),
            id(2),
            id(3),
            id(4)
        ))
        .await?;
    for (id, key) in ids {
        scene
            .table
            .save_api_key(&scene.manager, id, Some(&key))
            .await?;
    }
    Ok(())
}

/// A server of its own, because only there a role needs its password.
#[tokio::test]
async fn no_secret_leaves_whatever_happens() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default().scram_for_others()).await?;
    let scene = Scene::on(&cluster.url("postgres")).await?;
    let mut secrets = Secrets::default();
    secrets.keep("the password", PASSWORD);
    secrets.keep("a wrong password", WRONG_PASSWORD);
    own_by_role_with_password(&scene).await?;
    let url = connection_url::with_user(scene.url(), "reconciler", Some(PASSWORD))?;
    let wrong = connection_url::with_user(scene.url(), "reconciler", Some(WRONG_PASSWORD))?;
    let ear = Eavesdropper::start(&scene).await?;
    let settings = [
        ("RUST_LOG", "trace"),
        ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms"),
        ("AUTH_RECONCILER_PROBE_TIMEOUT", "300ms"),
        ("AUTH_RECONCILER_PROBE_CONNECT_TIMEOUT", "300ms"),
        ("AUTH_RECONCILER_BACKOFF_MAX", "500ms"),
    ];
    let daemon = Daemon::spawn(&url, &["run", "--migrate"], &settings)?;
    daemon.wait_message("serving").await?;
    let stubs = every_kind(&scene, &mut secrets).await?;
    hostile_rows(&scene, &mut secrets, stubs[0].port()).await?;
    every_kind_is_looked_at(&scene, &daemon).await?;
    every_session_ends_and_returns(&scene, &daemon, &ear).await?;

    let cmdline = std::fs::read_to_string(format!("/proc/{}/cmdline", daemon.pid()))?;
    secrets.ensure_absent("the process list", &cmdline)?;
    secrets.ensure_absent("a payload", &ear.payloads().join("\n"))?;
    the_database_shows_none(&scene, &secrets).await?;
    commands_show_none(&[&url, &wrong], &secrets).await?;
    daemon.sigterm()?;
    daemon.ended().await?;
    let output = daemon.output();
    ensure!(
        output.contains("\"level\":\"DEBUG\""),
        "the log was at its most talkative"
    );
    secrets.ensure_absent("the log", &output)?;
    drop(stubs);
    Ok(())
}

async fn own_by_role_with_password(scene: &Scene) -> Result<()> {
    let script = format!(
        "create role reconciler login password '{PASSWORD}';
         grant create on database {} to reconciler;
         alter table public.message_instances owner to reconciler",
        scene.database.name()
    );
    scene.manager.batch_execute(&script).await?;
    Ok(())
}

/// Every one was looked at; those whose write fails are told once each.
async fn every_kind_is_looked_at(scene: &Scene, daemon: &Daemon) -> Result<()> {
    scene
        .eventually(
            "select count(*) >= 25 and count(distinct reason) >= 14 from auth_reconciler.instance where looks > 0",
        )
        .await?;
    let mut failures = 0;
    daemon
        .wait_line(0, "refused writes", |line| {
            failures += usize::from(line.is(REFUSED));
            failures >= 3
        })
        .await?;
    Ok(())
}

/// Every session of the daemon is ended; it comes back, and looks at everything again.
async fn every_session_ends_and_returns(
    scene: &Scene,
    daemon: &Daemon,
    ear: &Eavesdropper,
) -> Result<()> {
    let mark = daemon.mark();
    scene
        .manager
        .batch_execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'auth-reconciler%'",
        )
        .await?;
    daemon.wait_message_after(mark, "serving").await?;
    ear.echoes(1).await?;
    scene
        .manager
        .batch_execute("select auth_reconciler.reconcile_all(); delete from public.message_instances where port_api = 0")
        .await?;
    ear.echoes(3).await?;
    Ok(())
}

async fn the_database_shows_none(scene: &Scene, secrets: &Secrets) -> Result<()> {
    let statements: String = scene
        .value("select string_agg(query, e'\\n') from pg_stat_activity where application_name like 'auth-reconciler%'")
        .await?;
    secrets.ensure_absent("pg_stat_activity", &statements)?;
    for (name, content) in dump(scene).await? {
        secrets.ensure_absent(&name, &content)?;
    }
    Ok(())
}

/// What people call shows none, whether it is let in or not.
async fn commands_show_none(urls: &[&str], secrets: &Secrets) -> Result<()> {
    let trace = [("RUST_LOG", "trace")];
    for arguments in [&["status"][..], &["status", "--json"], &["doctor"]] {
        for url in urls {
            let output = run_command(url, arguments, &trace).await?;
            secrets.ensure_absent(arguments[0], &output.stdout)?;
            secrets.ensure_absent(arguments[0], &output.stderr)?;
        }
    }
    Ok(())
}

/// Every table and view of our schema as text, by name.
async fn dump(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let names = scene
        .manager
        .query(
            "select oid::regclass::text from pg_class
             where relnamespace = 'auth_reconciler'::regnamespace and relkind in ('r', 'v', 'm', 'p')",
            &[],
        )
        .await?;
    ensure!(names.len() >= 8, "tables and views are found");
    let mut dump = BTreeMap::new();
    for name in names {
        let name: String = name.get(0);
        let content: String = scene
            .value(&format!(
                "select coalesce(string_agg(t::text, e'\\n'), '') from {name} as t"
            ))
            .await?;
        dump.insert(name, content);
    }
    Ok(dump)
}
