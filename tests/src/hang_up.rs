//! A server that hangs up amid what two sides say to each other in turn, without a word of why.
//!
//! So looks a refused certificate in TLS 1.3 when the server's alert is lost: the client has sent its request by the time
//! that the server judges its certificate, and the reset that answers the request may come before the alert is read.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A port that leads to a server and hangs up; dropping it closes the port.
pub struct HangUp {
    port: u16,
    task: JoinHandle<()>,
}

impl HangUp {
    /// Opens a port that leads to `target` until the client takes its turn once more than so many times; a turn is all
    /// that it says until the server answers. The connection is reset then.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn after_turns(target: SocketAddr, turns: usize) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Whatever ends it, the client sees a reset.
                    let _ = carry(&mut client, target, turns).await;
                    let _ = client.set_zero_linger();
                });
            }
        });
        Ok(Self { port, task })
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: &mut TcpStream, target: SocketAddr, turns: usize) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut said, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut taken, mut answering) = (0, true);
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                let size = read?;
                taken += usize::from(answering);
                answering = false;
                if size == 0 || taken > turns {
                    return Ok(());
                }
                server.write_all(&said[..size]).await?;
            }
            read = server.read(&mut answered) => {
                let size = read?;
                answering = true;
                if size == 0 {
                    return Ok(());
                }
                client.write_all(&answered[..size]).await?;
            }
        }
    }
}
