//! What an init system is told, over a real socket: ready, alive, in what state, and at its end.

use std::collections::BTreeMap;
use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::daemon::{Daemon, Setting};
use auth_reconciler_tests::patience::{PATIENCE, within};
use auth_reconciler_tests::proxy::{Link, Proxy};
use tokio::net::UnixDatagram;
use uuid::Uuid;

use crate::scene::Scene;

/// The variables of one message.
type Message = BTreeMap<String, String>;

/// The socket that an init system listens on.
struct Notified {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Notified {
    fn bind() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("notify-{}", Uuid::new_v4().simple()));
        let socket = UnixDatagram::bind(&path)?;
        Ok(Self { path, socket })
    }

    fn setting(&self) -> Result<Setting<'_>> {
        let path = self.path.to_str();
        Ok((
            "NOTIFY_SOCKET",
            anyhow::Context::context(path, "a path in UTF-8")?,
        ))
    }

    async fn next(&self) -> Result<Message> {
        let mut buffer = vec![0; 4096];
        let length = self.socket.recv(&mut buffer).await?;
        let text = std::str::from_utf8(&buffer[..length])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// Waits for a message like this.
    #[track_caller]
    fn wait(
        &self,
        what: &str,
        like: impl Fn(&Message) -> bool,
    ) -> impl Future<Output = Result<Message>> {
        let caller = Location::caller();
        let heard = async move {
            loop {
                let message = self.next().await?;
                if like(&message) {
                    return Ok(message);
                }
            }
        };
        async move { within(PATIENCE, caller, what, heard).await? }
    }

    #[track_caller]
    fn status(&self, begins: &str) -> impl Future<Output = Result<Message>> {
        let begins = begins.to_owned();
        self.wait("a status", move |message| {
            message
                .get("STATUS")
                .is_some_and(|status| status.starts_with(&begins))
        })
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn has(message: &Message, name: &str) -> bool {
    message.get(name).is_some_and(|value| value == "1")
}

/// In order: while there is no database it has its start extended, then it is ready, alive, and says when its ear is lost
/// and that it ends.
#[tokio::test]
async fn a_life_is_told_from_the_wait_for_a_database_to_the_end() -> Result<()> {
    let scene = Scene::shared().await?;
    let proxy = Proxy::to(scene.url()).await?;
    proxy.set(Link::Refuse).await?;
    let notified = Notified::bind()?;
    let settings = [notified.setting()?, ("WATCHDOG_USEC", "200000")];
    let url = proxy.url(scene.url())?;
    let daemon = Daemon::spawn(&url, &["run", "--migrate"], &settings)?;
    notified.status("migrates, or waits").await?;
    let extended = notified
        .wait("more time for the start", |message| {
            assert!(!has(message, "READY"), "there is no database");
            message.contains_key("EXTEND_TIMEOUT_USEC")
        })
        .await?;
    assert!(!extended.contains_key("WATCHDOG"), "{extended:?}");

    proxy.set(Link::Pass).await?;
    let ready = notified
        .wait("that it is ready", |message| has(message, "READY"))
        .await?;
    assert_eq!(
        ready.get("STATUS").map(String::as_str),
        Some("leads and serves")
    );
    for _ in 0..3 {
        let alive = |message: &Message| {
            assert!(
                !has(message, "READY") && !message.contains_key("EXTEND_TIMEOUT_USEC"),
                "told twice: {message:?}"
            );
            has(message, "WATCHDOG")
        };
        notified.wait("a sign of life", alive).await?;
    }
    proxy.cut_all().await?;
    notified
        .status("has lost the connection that listens: ")
        .await?;
    notified.status("leads and serves").await?;

    daemon.sigterm()?;
    let stopping = notified
        .wait("that it ends", |message| has(message, "STOPPING"))
        .await?;
    let time: u64 = stopping
        .get("EXTEND_TIMEOUT_USEC")
        .map_or(Ok(0), |text| text.parse())?;
    assert!(Duration::from_micros(time) > Duration::from_secs(10));
    assert!(daemon.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn who_stands_by_is_ready_and_says_so() -> Result<()> {
    let scene = Scene::shared().await?;
    let first = Daemon::start(&scene.database, &[]).await?;
    let notified = Notified::bind()?;
    let second = Daemon::spawn(scene.url(), &["run"], &[notified.setting()?])?;
    let ready = notified
        .wait("that it is ready", |message| has(message, "READY"))
        .await?;
    assert_eq!(
        ready.get("STATUS").map(String::as_str),
        Some("stands by: another process leads")
    );
    first.sigkill()?;
    notified.status("leads and serves").await?;
    drop(second);
    Ok(())
}
