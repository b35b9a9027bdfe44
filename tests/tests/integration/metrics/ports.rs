//! The daemon opens no port.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;

use anyhow::Result;
use auth_reconciler_tests::stub::{Behaviour, Stub};

use crate::stage::Stage;

/// The inodes of the sockets that a process listens on, by TCP or in the file system.
fn listening(pid: u32) -> Result<HashSet<String>> {
    let mut listeners = HashSet::new();
    for (table, state, listens, inode) in [
        ("tcp", 3, "0A", 9),
        ("tcp6", 3, "0A", 9),
        // __SO_ACCEPTCON among the flags.
        ("unix", 3, "00010000", 6),
    ] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns.get(state) == Some(&listens) {
                listeners.extend(columns.get(inode).map(|inode| format!("socket:[{inode}]")));
            }
        }
    }
    let mut own = HashSet::new();
    for file in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed meanwhile is none.
        if let Ok(target) = std::fs::read_link(file?.path()) {
            own.insert(target.to_string_lossy().into_owned());
        }
    }
    Ok(own.intersection(&listeners).cloned().collect())
}

#[tokio::test]
async fn the_daemon_listens_nowhere() -> Result<()> {
    // What would be found: this process, which does.
    let folder = std::env::temp_dir().join(format!("listens-{}", uuid::Uuid::new_v4().simple()));
    let before = listening(std::process::id())?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let unix = UnixListener::bind(&folder)?;
    let found = listening(std::process::id())?;
    assert!(found.difference(&before).count() >= 2, "{found:?}");
    drop((tcp, unix));
    std::fs::remove_file(folder)?;

    let stage = Stage::start(&[]).await?;
    let stub = Stub::start(Behaviour::Ready).await?;
    let id = stage.telegram(stub.port(), "a-key").await?;
    stage.expect(id, Some("client_ready"), "Ready").await?;
    let found = listening(stage.daemon.pid())?;
    assert!(found.is_empty(), "the daemon listens: {found:?}");
    stage.close().await
}
