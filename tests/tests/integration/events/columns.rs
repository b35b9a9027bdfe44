//! A column that we name of a watched table is renamed, dropped or of another type while the daemon runs: that table is
//! told and left out, every other one goes on.

use anyhow::{Context as _, Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use auth_reconciler_tests::manager::ManagerTable;
use uuid::Uuid;

use crate::arena::Scene;
use crate::scene::eventually;

const OFTEN: (&str, &str) = ("AUTH_RECONCILER_ECHO_INTERVAL", "100ms");

const TABLE: &str = "public.message_instances";

const CHANGED: &str = "ColumnChanged";

/// What somebody does to the columns of a table, and how it is undone.
struct Change {
    does: String,
    undoes: String,
    /// What must be said of it.
    said: &'static str,
}

fn renamed(column: &str, said: &'static str) -> Change {
    Change {
        does: format!("rename column {column} to {column}_of_old"),
        undoes: format!("rename column {column}_of_old to {column}"),
        said,
    }
}

/// A daemon that serves two tables, the first of which is changed; one row of each.
struct Two {
    scene: Scene,
    other: ManagerTable,
    row: Uuid,
    others_row: Uuid,
}

impl Two {
    async fn start() -> Result<Self> {
        let scene = Scene::start(&[OFTEN]).await?;
        let other = ManagerTable::telegram_instances();
        other.create(&scene.client).await?;
        let watch = format!(
            "select auth_reconciler.watch('{}'); select auth_reconciler.guard('{TABLE}', true)",
            other.name()
        );
        scene.client.batch_execute(&watch).await?;
        let row = scene.idle_instance().await?;
        let others_row = another(&scene, &other).await?;
        Ok(Self {
            scene,
            other,
            row,
            others_row,
        })
    }

    async fn alter(&self, change: &str) -> Result<()> {
        let alter = format!("alter table {TABLE} {change}");
        let done = self.scene.client.batch_execute(&alter).await;
        done.with_context(|| change.to_owned())
    }

    /// What an operator reads shows the other table, and says of this one what is wrong.
    async fn views_go_on(&self, said: &str) -> Result<()> {
        let (client, id) = (&self.scene.client, self.others_row);
        for view in ["instances", "status"] {
            let shown =
                format!("select coalesce(array_agg(id::text), '{{}}') from auth_reconciler.{view}");
            let shown: Vec<String> = client.query_one(&shown, &[]).await.context(view)?.get(0);
            ensure!(shown.contains(&id.to_string()), "{view}: {shown:?}");
            ensure!(!shown.contains(&self.row.to_string()), "{view}: {shown:?}");
        }
        let told = "select string_agg(problem || ' ' || translate(why, e'\\n', ' '), ';') from auth_reconciler.problem_details
            where id is null";
        let told: String = client.query_one(told, &[]).await?.get(0);
        for word in [CHANGED, said, TABLE] {
            ensure!(told.contains(word), "no {word:?} in {told}");
        }
        for view in ["backlog", "drift", "tables", "history", "reconcilers"] {
            let all = format!("select * from auth_reconciler.{view}");
            client.query(&all, &[]).await.context(view)?;
        }
        let story = "select count(*) > 0 from auth_reconciler.explain($1)";
        ensure!(client.query_one(story, &[&id]).await?.get::<_, bool>(0));
        for act in ["reconcile($1)", "pause($1, 'a test')", "resume($1)"] {
            let act = format!("select auth_reconciler.{act}");
            client.query(&act, &[&id]).await.context(act)?;
        }
        let all = "select auth_reconciler.reconcile_all()";
        client.query(all, &[]).await.context(all)?;
        Ok(())
    }

    /// `status` and `doctor` say it, with what mends it.
    async fn commands_tell(&self, said: &str) -> Result<()> {
        let url = self.scene.database.url();
        let status = run_command(url, &["status"], &[]).await?;
        let doctor = run_command(url, &["doctor"], &[]).await?;
        ensure!(status.code == Some(1), "{status:?}");
        ensure!(
            status.stdout.contains(&self.others_row.to_string()),
            "{status:?}"
        );
        ensure!(doctor.code == Some(1), "{doctor:?}");
        ensure!(doctor.stdout.contains("FAIL"), "{doctor:?}");
        for word in [said, TABLE, "rename the column back", "unwatch("] {
            ensure!(status.stdout.contains(word), "no {word:?} in {status:?}");
            ensure!(doctor.stdout.contains(word), "no {word:?} in {doctor:?}");
        }
        Ok(())
    }

    /// From the change to when it was undone.
    async fn told_and_undone(&self, change: &Change) -> Result<()> {
        let (scene, said) = (&self.scene, change.said);
        let begin = scene.daemon.mark();
        self.alter(&change.does).await?;
        // The manager goes on meanwhile, whatever it has renamed.
        let id = if change.does.contains("column id ") {
            "id_of_old"
        } else {
            "id"
        };
        for write in [
            format!("update {TABLE} set account = coalesce(account, '') || 'x'"),
            format!("insert into {TABLE} ({id}) values (gen_random_uuid())"),
            format!("delete from {TABLE} where account is null"),
        ] {
            scene.client.batch_execute(&write).await.context(write)?;
        }
        let line = scene
            .daemon
            .wait_line(begin, said, |line| {
                line.has("problem", CHANGED) && line.text.contains(said)
            })
            .await?;
        ensure!(line.level() == Some("ERROR"), "{}", line.text);
        for word in [TABLE, "rename the column back", "unwatch("] {
            ensure!(line.text.contains(word), "no {word:?} in {}", line.text);
        }
        self.views_go_on(said).await?;
        self.commands_tell(said).await?;
        another(scene, &self.other).await?;
        ensure!(scene.daemon.is_running());

        let mark = scene.records.mark();
        let restored = scene.daemon.mark();
        self.alter(&change.undoes).await?;
        scene
            .daemon
            .wait_line(restored, "that it has ended", |line| {
                line.is("no longer so of a watched table") && line.text.contains(said)
            })
            .await?;
        scene.records.of(mark, self.row).await?;
        let told = scene.daemon.log();
        let told = told[begin..]
            .iter()
            .filter(|line| line.level() == Some("ERROR") && line.text.contains(said));
        ensure!(told.count() == 1, "told more than once: {said}");
        let well =
            "select not exists (select from auth_reconciler.problem_details where id is null)";
        eventually(&scene.client, well).await
    }
}

/// A new row of a table is looked at.
async fn another(scene: &Scene, table: &ManagerTable) -> Result<Uuid> {
    let (id, mark) = (Uuid::new_v4(), scene.records.mark());
    table.insert(&scene.client, id, None, None).await?;
    scene.records.of(mark, id).await?;
    Ok(id)
}

#[tokio::test]
async fn a_renamed_column_is_told_and_stops_its_table_alone() -> Result<()> {
    let two = Two::start().await?;
    for change in [
        renamed("id", "column id is missing"),
        renamed("auth_status", "column auth_status is missing"),
        renamed("api_key", "column api_key is missing"),
        renamed("type_instance", "column type_instance is missing"),
    ] {
        two.told_and_undone(&change).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_column_of_another_type_is_told_and_stops_its_table_alone() -> Result<()> {
    let two = Two::start().await?;
    let retyped = Change {
        does: "alter column updated_at drop default, alter column updated_at type text".to_owned(),
        undoes: "alter column updated_at type timestamp using updated_at::timestamp".to_owned(),
        said: "column updated_at is text, not a timestamp",
    };
    two.told_and_undone(&retyped).await?;
    // As a migration does it that keeps the old one for a while.
    two.alter("rename column port_api to old_port").await?;
    let replaced = Change {
        does: "add column port_api text".to_owned(),
        undoes: format!(
            "drop column port_api; alter table {TABLE} rename column old_port to port_api"
        ),
        said: "column port_api is text, not an integer",
    };
    two.told_and_undone(&replaced).await
}

/// With the column go the triggers that name it: they can be attached again only when it is back.
#[tokio::test]
async fn a_dropped_column_is_told_before_the_triggers_that_went_with_it() -> Result<()> {
    let two = Two::start().await?;
    let said = "column api_key is missing";
    two.alter("drop column api_key cascade").await?;
    two.scene
        .daemon
        .wait_line(0, said, |line| {
            line.has("problem", CHANGED) && line.text.contains(said)
        })
        .await?;
    two.views_go_on(said).await?;
    two.commands_tell(said).await?;
    two.alter("add column api_key varchar").await?;
    two.scene
        .daemon
        .wait_line(0, "the triggers", |line| {
            line.has("problem", "TriggersMissing")
        })
        .await?;
    let mark = two.scene.records.mark();
    let migrated = run_command(two.scene.database.url(), &["migrate"], &[]).await?;
    ensure!(migrated.code == Some(0), "{migrated:?}");
    two.scene.records.of(mark, two.row).await?;
    Ok(())
}
