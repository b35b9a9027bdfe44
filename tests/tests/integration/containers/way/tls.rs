//! Engines behind TCP, with TLS and without.

use anyhow::{Result, ensure};
use auth_reconciler_tests::certificates::Certificates;
use auth_reconciler_tests::daemon::{Daemon, run_command};
use auth_reconciler_tests::docker::Engine;
use auth_reconciler_tests::hang_up::HangUp;
use auth_reconciler_tests::port::free_port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use super::says_of_engine;
use crate::arena::Scene;
use crate::containers::Harbour;

#[tokio::test]
async fn an_engine_behind_tcp_is_followed() -> Result<()> {
    let engine = Engine::shared().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("tcp://{}", listener.local_addr()?);
    let socket = engine.socket().to_owned();
    let way = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = UnixStream::connect(socket).await {
                    // However it ends.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    let harbour = Harbour::open(engine, &url, &[]).await?;
    let container = harbour.ready().await?;
    container.kill("KILL").await?;
    let watcher = &harbour.watcher;
    watcher.wait_status(container.instance(), "failed").await?;
    way.abort();
    Ok(())
}

#[tokio::test]
async fn an_engine_with_tls_wants_both_certificates_and_says_which_is_wrong() -> Result<()> {
    let certificates = Certificates::create()?;
    let port = free_port()?;
    let private = Engine::private_with_tls(&certificates, port).await?;
    let url = format!("tcp://127.0.0.1:{port}");
    let folder = |authority, client| -> Result<String> {
        let folder = certificates.docker_folder(authority, client)?;
        Ok(folder.display().to_string())
    };
    let right = folder(&certificates.authority, &certificates.client)?;
    let settings = [("AUTH_RECONCILER_DOCKER_CERTS", right.as_str())];
    let harbour = Harbour::open(Engine::clone(&private), &url, &settings).await?;
    let container = harbour.ready().await?;
    container.kill("KILL").await?;
    let watcher = &harbour.watcher;
    watcher.wait_status(container.instance(), "failed").await?;

    let wrong_authority = folder(&certificates.other_authority, &certificates.client)?;
    let stranger = folder(&certificates.authority, &certificates.stranger)?;
    let cut = HangUp::after_turns(([127, 0, 0, 1], port).into(), 1).await?;
    let cut_off = format!("tcp://127.0.0.1:{}", cut.port());
    tokio::try_join!(
        wrong(&url, &wrong_authority, "UnknownIssuer"),
        // What the engine says of a certificate that it does not trust may be lost with the connection...
        wrong(&url, &stranger, ""),
        // ... as it is here.
        wrong(
            &cut_off,
            &stranger,
            "the connection was closed before the first answer"
        ),
    )?;

    // What cannot work is said at once, by name.
    let lacking = folder(&certificates.authority, &certificates.client)?;
    std::fs::remove_file(format!("{lacking}/cert.pem"))?;
    let settings = through(&url, &lacking);
    let database = harbour.scene.database.url();
    let daemon = Daemon::spawn(database, &["run"], &settings)?;
    ensure!(daemon.ended().await?.code() == Some(1));
    let named = format!("cannot read `{lacking}/cert.pem` for TLS to the engine");
    ensure!(daemon.output().contains(&named), "{}", daemon.output());
    let doctor = run_command(database, &["doctor"], &settings).await?;
    ensure!(doctor.code == Some(1) && doctor.stdout.contains(&named));
    Ok(())
}

const fn through<'a>(url: &'a str, certs: &'a str) -> [(&'static str, &'a str); 2] {
    [
        ("AUTH_RECONCILER_DOCKER", url),
        ("AUTH_RECONCILER_DOCKER_CERTS", certs),
    ]
}

/// Fails unless `reconcilers` and `doctor` say this error of the engine, with the advice to look at the certificates.
async fn wrong(url: &str, certs: &str, error: &str) -> Result<()> {
    let settings = through(url, certs);
    let scene = Scene::start(&settings).await?;
    let detail = says_of_engine(&scene.client, "not seen").await?.detail;
    let doctor = run_command(scene.database.url(), &["doctor"], &settings).await?;
    for words in [error, "AUTH_RECONCILER_DOCKER_CERTS", "ca.pem", "cert.pem"] {
        ensure!(detail.contains(words), "no {words:?} in {detail}");
    }
    ensure!(doctor.stdout.contains(error), "{}", doctor.stdout);
    Ok(())
}
