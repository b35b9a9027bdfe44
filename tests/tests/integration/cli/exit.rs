//! Exit codes mean the same in every command, and what could not be written is an error in each.

use std::fs::File;
use std::process::Stdio;

use anyhow::{Result, ensure};
use auth_reconciler_tests::connection_url;
use auth_reconciler_tests::daemon::{binary, run_command, settings_for};

use super::expect;
use crate::scene::Scene;

/// Every command that ends by itself.
const COMMANDS: [&[&str]; 9] = [
    &["status"],
    &["status", "--json"],
    &["doctor"],
    &["migrate"],
    &["watch"],
    &["completions", "fish"],
    &["--help"],
    &["--version"],
    &["uninstall", "--yes"],
];

/// Runs it with this as its standard output, for its exit code and standard error.
async fn run(scene: &Scene, words: &[&str], stdout: Stdio) -> Result<(Option<i32>, String)> {
    let output = tokio::process::Command::new(binary()?)
        .args(words)
        .env_clear()
        .envs(settings_for(scene.url()))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?
        .wait_with_output()
        .await?;
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_of_every_command() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    for words in COMMANDS {
        let full = File::options().write(true).open("/dev/full")?;
        let (code, said) = run(&scene, words, full.into()).await?;
        ensure!(code == Some(3), "{words:?}: {code:?}: {said}");
        ensure!(
            said.contains("could not write") && !said.contains("panicked"),
            "{words:?}: {said}"
        );
    }
    Ok(())
}

/// But for `watch`, which never ends by itself: its reader's end is its own.
#[tokio::test]
async fn a_reader_that_has_gone_is_an_error_of_every_command_but_watch() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    for words in COMMANDS {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let (code, said) = run(&scene, words, writer.into()).await?;
        let expected = if words == ["watch"] { 0 } else { 3 };
        ensure!(code == Some(expected), "{words:?}: {code:?}: {said}");
        ensure!(!said.contains("panicked"), "{words:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn that_nobody_could_be_asked_has_the_same_code_in_every_command() -> Result<()> {
    let scene = Scene::shared().await?;
    // Port 1 is nobody's.
    let nobody = connection_url::with_address(scene.url(), "127.0.0.1", 1)?;
    for words in [
        &["status"][..],
        &["doctor"],
        &["migrate"],
        &["watch"],
        &["health"],
        &["uninstall", "--yes"],
    ] {
        expect(&run_command(&nobody, words, &[]).await?, 3, &[])?;
    }
    // What it was asked for can be refused only by who was asked.
    expect(
        &run_command(scene.url(), &["uninstall", "--yes"], &[]).await?,
        0,
        &[],
    )?;
    expect(&run_command(scene.url(), &["run"], &[]).await?, 1, &[])
}

#[tokio::test]
async fn the_help_tells_all_of_them() -> Result<()> {
    let help = run_command("", &["--help"], &[]).await?;
    let words: Vec<&str> = help.stdout.split_whitespace().collect();
    let words = words.join(" ");
    for said in [
        "Exit codes: 0 all is well",
        " 1 an instance",
        " 2 the command line",
        " 3 nothing is known",
        " 4 no daemon leads",
    ] {
        ensure!(words.contains(said), "no {said:?} in {}", help.stdout);
    }
    Ok(())
}
