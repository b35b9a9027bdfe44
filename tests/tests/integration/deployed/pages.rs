//! Completions and manual pages, made without any setting.

use std::process::Command;

use anyhow::{Result, ensure};
use auth_reconciler_tests::daemon::run_command;
use uuid::Uuid;

use crate::cli::expect;

/// No database is named: pages need none.
const NOWHERE: &str = "";

#[tokio::test]
async fn shells_learn_commands_and_flags() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let output = run_command(NOWHERE, &["completions", shell], &[]).await?;
        expect(&output, 0, &["uninstall", "health", "probe-url"])?;
        ensure!(output.stderr.is_empty(), "{}", output.stderr);
        ensure!(!output.stdout.contains("man -- "), "a hidden command");
    }
    let script = run_command(NOWHERE, &["completions", "bash"], &[]).await?;
    let tried = Command::new("bash")
        .args([
            "-c",
            &format!("{}\ncomplete -p auth-reconciler", script.stdout),
        ])
        .output()?;
    ensure!(tried.status.success(), "bash does not take it: {tried:?}");
    expect(
        &run_command(NOWHERE, &["completions", "abacus"], &[]).await?,
        2,
        &[],
    )
}

#[tokio::test]
async fn each_command_has_a_manual_page() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("man-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder)?;
    let path = folder.to_string_lossy();
    let output = run_command(NOWHERE, &["man", &path], &[]).await?;
    let mut pages: Vec<String> = std::fs::read_dir(&folder)?
        .map(|page| Ok(page?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    pages.sort();
    let daemon = std::fs::read_to_string(folder.join("auth-reconciler-run.1"));
    std::fs::remove_dir_all(&folder)?;
    expect(&output, 0, &[])?;
    let commands = [
        "-completions",
        "-doctor",
        "-health",
        "-migrate",
        "-run",
        "-status",
        "-uninstall",
        "-watch",
        "",
    ];
    assert_eq!(
        pages,
        commands.map(|command| format!("auth-reconciler{command}.1"))
    );
    assert!(daemon?.contains("AUTH_RECONCILER_PROBE_URL"));
    Ok(())
}
