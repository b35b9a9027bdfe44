//! Children under watch: their lines, their end, and that they do not outlive their owner.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use auth_reconciler_tests::daemon::without_secrets;
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::process::{Process, Stream};

fn shell(script: &str) -> Result<Process> {
    Process::spawn(Command::new("sh").args(["-c", script]))
}

#[tokio::test]
async fn lines_of_both_outputs_and_the_exit_code_are_kept() -> Result<()> {
    let process = shell("echo one; echo two >&2; printf three; exit 3")?;
    assert_eq!(process.ended().await.code(), Some(3));
    let of = |stream| {
        process.look(|progress| {
            let lines = progress.lines.iter().filter(|line| line.stream == stream);
            lines.map(|line| line.text.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(of(Stream::Stdout), ["one", "three"]);
    assert_eq!(of(Stream::Stderr), ["two"]);
    process.signal("TERM")?;
    Ok(())
}

#[tokio::test]
async fn a_signal_arrives_and_a_drop_kills() -> Result<()> {
    let trapping =
        shell("trap 'echo trapped; exit 0' TERM; echo armed; while :; do sleep 1; done")?;
    let line = |text: &'static str| {
        trapping.until(move |progress| {
            progress
                .lines
                .iter()
                .any(|line| line.text == text)
                .then_some(())
        })
    };
    let here = std::panic::Location::caller();
    within(PATIENCE, here, "the trap to be armed", line("armed")).await?;
    trapping.signal("TERM")?;
    within(PATIENCE, here, "the trap", line("trapped")).await?;
    assert!(trapping.ended().await.success());

    let deaf = Process::spawn(Command::new("sleep").arg("1000"))?;
    let pid = PathBuf::from(format!("/proc/{}", deaf.pid()));
    assert!(pid.exists());
    drop(deaf);
    assert!(!pid.exists());
    Ok(())
}

#[test]
fn passwords_in_settings_are_kept_out_of_what_is_shown() {
    let settings = [
        ("AUTH_RECONCILER_LISTEN_URL", "postgres://me:other@h/d"),
        ("DATABASE_PASSWORD", "third"),
        ("RUST_LOG", "info"),
    ];
    let shown = without_secrets(
        "f%40rst f@rst other third info",
        "postgres://me:f%40rst@h/d",
        &settings,
    );
    assert_eq!(shown, "[secret] [secret] [secret] [secret] info");
}
