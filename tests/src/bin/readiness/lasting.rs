//! What lasts: how often a container is asked whose state does not change.

use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::docker::{Container, Phase, Spec};
use auth_reconciler_tests::instance::Telegram;
use auth_reconciler_tests::stub::Provider;
use tokio::time::sleep;

use crate::bench::Bench;
use crate::shapes::SHAPES;

const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: usize = 3;

/// How it comes into a state, and what is said of that.
#[derive(Clone, Copy)]
enum State {
    /// Its one question to Telegram failed.
    NotConnected,
    /// It was ready; Telegram answers 500 since.
    Error,
    /// It was ready; Telegram does not answer.
    Hanging,
    /// The whole process answers nobody.
    Hung,
    /// WhatsApp waits for its scan.
    Scan,
    /// WhatsApp synchronises.
    Synchronises,
    /// It is ready.
    Ready,
}

const STATES: [(&str, State); 7] = [
    ("not connected", State::NotConnected),
    ("Telegram answers 500", State::Error),
    ("Telegram hangs", State::Hanging),
    ("hung", State::Hung),
    ("WhatsApp, QR", State::Scan),
    ("WhatsApp, synchronises", State::Synchronises),
    ("ready", State::Ready),
];

pub(crate) async fn measure(bench: &Bench) -> Result<()> {
    println!("\nrequests in the first minute of a state, in the second, and in the third");
    print!("{:<24}", "");
    for (shape, _) in SHAPES {
        print!(" | {shape:<20}");
    }
    let mut watched = Vec::new();
    for (name, state) in STATES {
        for (_, requests) in SHAPES {
            let shape = |spec: Spec| spec.with(|settings| settings.requests = requests);
            let container = begin(bench, state, shape).await?;
            // One after the other: so many starts at once are not what is measured.
            watched.push((name, tokio::spawn(minutes(container))));
        }
    }
    let mut last = "";
    for (name, counts) in watched {
        if name != last {
            print!("\n{name:<24}");
            last = name;
        }
        print!(" | {:<20}", counts.await??);
    }
    println!();
    Ok(())
}

async fn begin(bench: &Bench, state: State, shape: impl Fn(Spec) -> Spec) -> Result<Container> {
    let provider = match state {
        State::Scan | State::Synchronises => Provider::WhatsAppWeb,
        State::NotConnected | State::Error | State::Hanging | State::Hung | State::Ready => {
            Provider::Telegram
        }
    };
    let telegram = match state {
        State::NotConnected | State::Scan | State::Synchronises => Telegram::Fails,
        State::Error | State::Hanging | State::Hung | State::Ready => Telegram::Answers,
    };
    let container = bench
        .create(|spec| {
            shape(spec.provider(provider).at_once()).with(|settings| settings.telegram = telegram)
        })
        .await?;
    let (id, mark) = (container.instance(), bench.watcher.mark());
    container.start().await?;
    container.reached(Phase::Listening).await?;
    if telegram == Telegram::Answers {
        bench.heard(mark, id, "client_ready").await?;
    }
    let orders: &[&str] = match state {
        State::NotConnected | State::Synchronises | State::Ready => &[],
        State::Error => &["telegram?state=fails"],
        State::Hanging => &["telegram?state=hangs"],
        State::Hung => &["hang"],
        State::Scan => &["pretend?as=qr"],
    };
    for order in orders {
        container.control(order).await?;
    }
    if matches!(state, State::Error | State::Hanging | State::Hung) {
        // Nobody looks at what was ready unless something happens to it.
        bench
            .client
            .execute("select auth_reconciler.reconcile($1)", &[&id])
            .await?;
    }
    Ok(container)
}

/// What it is asked in each of the minutes that follow.
async fn minutes(container: Container) -> Result<String> {
    let mut before = container.counts().await?.total();
    let mut asked = Vec::new();
    for _ in 0..MINUTES {
        sleep(MINUTE).await;
        let now = container.counts().await?.total();
        asked.push((now - before).to_string());
        before = now;
    }
    container.remove().await?;
    Ok(asked.join(" "))
}
