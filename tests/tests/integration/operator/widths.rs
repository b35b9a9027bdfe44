//! What people read fits a terminal of 100 columns in psql as it comes, whatever there is to tell.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use auth_reconciler_tests::postgres::program;

use crate::scene::Scene;

/// Columns of a terminal.
const WIDE: usize = 100;

/// Ids as they are, the longest words there are, and texts that hold words longer than a column.
const FLEET: &str = "
    insert into public.message_instances (id, provider, port_api, api_key, auth_status)
    select gen_random_uuid(), 'telegram', 65535, 'a-key', status
    from unnest(array['client_ready', 'authenticated', 'failed', 'pending', 'qr_ready', 'failed']) as status;
    delete from auth_reconciler.change;
    insert into auth_reconciler.instance
        (watched_id, instance_id, version, generation, auth_status, reason, message, since, settled, next_attempt_at,
         trouble_at, cause, reaction_ms, recorded_at, looks, attempts, misses, corrections_spent, contested)
    select 1, m.id, gen_random_uuid(), 1,
        case m.auth_status when 'pending' then 'client_ready' else m.auth_status end,
        case m.auth_status when 'client_ready' then 'Ready' else 'TelegramNotConnected' end,
        'its API at http://wweb-' || m.id || '-api:65535/api/telegram/status says so since AUTH_RECONCILER_CONNECTING_LIMIT',
        now() - case m.auth_status when 'failed' then interval '99 hours 59 minutes 50 seconds'
            when 'qr_ready' then interval '900 days' else interval '30 days' end,
        true, now() + interval '30 seconds', now(), 'type_instance', 123456.789, now(), 1234567, 0, 0, 0,
        case m.auth_status when 'authenticated' then 1 else 0 end
    from public.message_instances as m;
    insert into auth_reconciler.transition
        (watched_id, instance_id, at, from_status, to_status, reason, message, cause, reaction_ms)
    select i.watched_id, i.instance_id, i.since, 'authenticated', i.auth_status, i.reason, i.message, i.cause, i.reaction_ms
    from auth_reconciler.instance as i;
    insert into auth_reconciler.foreign_write
        (watched_id, instance_id, kind, application, role, from_status, to_status, times, guarded, first_at, last_at)
    select i.watched_id, i.instance_id, 1, 'wweb-manager-api-production', 'manager_of_instances as manager_of_everything',
        'authenticated', 'client_ready', 123456, 123456, i.since, i.since
    from auth_reconciler.instance as i;
    insert into auth_reconciler.pause
    select i.watched_id, i.instance_id, repeat('moving_its_number', 5), 'the_operator_of_the_night', now()
    from auth_reconciler.instance as i where i.auth_status = 'qr_ready';
    select set_config('application_name', 'auth-reconciler ear 0.1.0 ' || repeat('a-host-', 4) || ' 4194304', false),
        pg_advisory_lock(auth_reconciler.leadership_lock())";

/// psql's answer, as it comes.
fn shown(scene: &Scene, asked: &str) -> Result<String> {
    let output = Command::new(program("psql")?)
        .args(["-X", "-d", scene.url(), "-c"])
        .arg(format!("select * from auth_reconciler.{asked}"))
        .output()?;
    ensure!(output.status.success(), "{asked}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a time is told in more digits than milliseconds have.
fn tells_microseconds(line: &str) -> bool {
    line.split_whitespace().any(|word| {
        let fraction = word
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split_once('.'));
        fraction
            .is_some_and(|(_, digits)| digits.chars().take_while(char::is_ascii_digit).count() > 3)
    })
}

#[tokio::test]
async fn what_people_ask_fits_a_terminal_of_100_columns() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    scene.manager.batch_execute(FLEET).await?;
    let contested = "select instance_id::text from auth_reconciler.instance where contested > 0";
    let contested: String = scene.value(contested).await?;
    let explain = format!("explain('{contested}')");
    for (asked, rows) in [
        ("overview", 5),
        ("status", 6),
        ("problems", 5),
        ("drift", 6),
        ("reconcilers", 1),
        ("last_day", 6),
        ("days limit 50", 6),
        ("help", 20),
        (&explain, 2),
    ] {
        let text = shown(&scene, asked)?;
        let lines: Vec<&str> = text.lines().collect();
        // Names, a rule, the rows, how many there are, and an empty line.
        ensure!(lines.len() >= rows + 3, "{asked} says little:\n{text}");
        let widest = lines.iter().map(|line| line.chars().count()).max();
        let widest = widest.context("nothing")?;
        ensure!(widest <= WIDE, "{asked} is {widest} columns wide:\n{text}");
        ensure!(
            !lines.iter().any(|line| tells_microseconds(line)),
            "{asked}:\n{text}"
        );
    }
    // In full, each on one line.
    for asked in ["status", "problems", "drift"] {
        ensure!(shown(&scene, asked)?.contains(&contested), "{asked}");
    }
    Ok(())
}
