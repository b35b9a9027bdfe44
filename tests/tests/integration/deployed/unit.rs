//! deploy/auth-reconciler.service, as systemd itself judges it.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use auth_reconciler_tests::daemon::binary;
use uuid::Uuid;

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/auth-reconciler.service"
);

/// The most exposure that is accepted, in tenths; systemd itself calls up to 20 good.
const EXPOSURE: &str = "15";

/// Judges a unit; `None` where systemd is not installed.
fn analyze(arguments: &[&str], unit: &Path) -> Result<Option<Output>> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output();
    match output {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: systemd is not installed here, so the unit was NOT checked");
            Ok(None)
        }
        Err(error) => bail!("systemd-analyze: {error}"),
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_unit_is_understood_and_little_exposed() -> Result<()> {
    let unit = std::fs::read_to_string(UNIT)?;
    // Where it is installed there is a program; here the one under test.
    let installed = "ExecStart=/usr/bin/auth-reconciler ";
    ensure!(unit.contains(installed), "it starts another program");
    let program = binary()?;
    let program = program.to_str().context("a path in UTF-8")?;
    let unit = unit.replace(installed, &format!("ExecStart={program} "));
    let folder = std::env::temp_dir().join(format!("unit-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder)?;
    let path = folder.join("auth-reconciler.service");
    std::fs::write(&path, unit)?;
    let judged = ["--man=no", "verify"];
    let verified = analyze(&judged, &path);
    let exposed = analyze(
        &["security", "--offline=true", "--threshold", EXPOSURE],
        &path,
    );
    std::fs::remove_dir_all(&folder)?;
    if let (Some(verified), Some(exposed)) = (verified?, exposed?) {
        ensure!(
            verified.status.success() && text(&verified).is_empty(),
            "{}",
            text(&verified)
        );
        ensure!(exposed.status.success(), "{}", text(&exposed));
    }
    Ok(())
}
