//! What is left of the roles when we go: nothing of what deploy/grants.sql gave, and deploy/revoke.sql for the rest.

use super::*;

const REVOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/revoke.sql");

const READS_KEYS: &str = "select api_key from public.message_instances";

fn psql(url: &str, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(program("psql")?)
        .args(["-X", "-q", "-d", url])
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), said))
}

async fn may_read_keys(url: &str) -> Result<bool> {
    let client = auth_reconciler_tests::database::connect(url).await?;
    Ok(client.query(READS_KEYS, &[]).await.is_ok())
}

#[tokio::test]
async fn uninstall_takes_back_what_was_granted_and_names_who_stays() -> Result<()> {
    let granted = Granted::start().await?;
    let (scene, manager) = (&granted.scene, &granted.scene.manager);
    // A second table that is no longer watched; a role that somebody helped to rights by hand; and one right of the
    // daemon's role that is nothing to us.
    manager
        .batch_execute(
            "create table public.telegram_instances (like public.message_instances including all);
             create schema elsewhere; create table elsewhere.note (id int); create table public.note (id int)",
        )
        .await?;
    let watch = "select auth_reconciler.watch('public.telegram_instances')";
    value::<String>(manager, watch).await?;
    let other = ["-v", "table=public.telegram_instances", "-f", GRANTS];
    let (done, said) = psql(scene.url(), &other)?;
    ensure!(done, "{said}");
    let unwatch = "select auth_reconciler.unwatch('public.telegram_instances')";
    let said: String = value(manager, unwatch).await?;
    ensure!(
        said.ends_with("select on its column api_key, to auth_reconciler"),
        "{said}"
    );
    manager
        .batch_execute(
            "create role bob login; grant usage on schema auth_reconciler, public to bob;
             grant select on public.message_instances to bob;
             grant usage on schema elsewhere to auth_reconciler; grant select on elsewhere.note to auth_reconciler",
        )
        .await?;
    ensure!(
        may_read_keys(&granted.daemon_url).await?,
        "no test of anything"
    );

    let removed = run_command(scene.url(), &["uninstall", "--yes"], &[]).await?;
    ensure!(removed.code == Some(0), "{}", removed.stderr);
    for said in [
        "auth_reconciler (a login)",
        "auth_reconciler_reader",
        "bob (a login)",
        "role bob reads api_key of public.message_instances",
        "deploy/revoke.sql",
    ] {
        ensure!(
            removed.stdout.contains(said),
            "no {said:?} in {}",
            removed.stdout
        );
    }
    ensure!(!may_read_keys(&granted.daemon_url).await?);
    let held_still = held(manager, "auth_reconciler").await?;
    assert_eq!(
        held_still,
        ["select on elsewhere.note", "usage on schema elsewhere"]
    );
    assert_eq!(held(manager, "auth_reconciler_reader").await?, [""; 0]);

    for roles in [&["-f", REVOKE][..], &["-v", "roles=bob", "-f", REVOKE]] {
        let (done, said) = psql(scene.url(), roles)?;
        ensure!(done, "{said}");
    }
    manager
        .batch_execute("drop role auth_reconciler, auth_reconciler_reader, bob")
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_schema_of_the_table_stays_usable_for_a_role_that_was_given_more_in_it() -> Result<()> {
    let granted = Granted::start().await?;
    let manager = &granted.scene.manager;
    manager
        .batch_execute("create table public.note (id int); grant select (id) on public.note to auth_reconciler")
        .await?;
    let removed = run_command(granted.scene.url(), &["uninstall", "--yes"], &[]).await?;
    ensure!(removed.code == Some(0), "{}", removed.stderr);
    let held = held(manager, "auth_reconciler").await?;
    // `id` of another table than that of instances is taken back only where it is one of ours.
    assert_eq!(held, ["select (id) on note", "usage on schema public"]);
    Ok(())
}

/// What the role passed on hangs on what it was given, which could not be taken back otherwise.
#[tokio::test]
async fn uninstall_takes_back_what_the_role_has_passed_on() -> Result<()> {
    let granted = Granted::start().await?;
    let (scene, manager) = (&granted.scene, &granted.scene.manager);
    manager
        .batch_execute(
            "create role heir login; grant usage on schema public to auth_reconciler with grant option;
             grant select (api_key) on public.message_instances to auth_reconciler with grant option;
             set role auth_reconciler; grant usage on schema public to heir;
             grant select (api_key) on public.message_instances to heir; reset role",
        )
        .await?;
    let removed = run_command(scene.url(), &["uninstall", "--yes"], &[]).await?;
    ensure!(removed.code == Some(0), "{}", removed.stderr);
    assert_eq!(held(manager, "auth_reconciler").await?, [""; 0]);
    assert_eq!(held(manager, "heir").await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn after_revoke_a_role_reads_nothing_and_can_be_dropped() -> Result<()> {
    let granted = Granted::start().await?;
    let (scene, manager) = (&granted.scene, &granted.scene.manager);
    manager
        .batch_execute("create schema theirs authorization auth_reconciler")
        .await?;
    let (done, said) = psql(scene.url(), &["-f", REVOKE])?;
    ensure!(!done && said.contains("owns schema theirs"), "{said}");
    ensure!(may_read_keys(&granted.daemon_url).await?, "it did half");
    manager
        .batch_execute("alter schema theirs owner to postgres")
        .await?;
    for _ in 0..2 {
        let (done, said) = psql(scene.url(), &["-f", REVOKE])?;
        ensure!(done, "{said}");
    }
    for url in [&granted.daemon_url, &granted.reader_url] {
        ensure!(!may_read_keys(url).await?);
    }
    for role in ["auth_reconciler", "auth_reconciler_reader"] {
        assert_eq!(held(manager, role).await?, [""; 0]);
    }
    manager
        .batch_execute("drop role auth_reconciler, auth_reconciler_reader")
        .await?;
    let (done, said) = psql(scene.url(), &["-f", REVOKE])?;
    ensure!(done && said.contains("does not exist"), "{said}");
    Ok(())
}
