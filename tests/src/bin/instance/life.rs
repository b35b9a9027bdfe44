//! The phases of an instance's life, and what it answers in each.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use auth_reconciler_tests::database::connect;
use auth_reconciler_tests::instance::{
    InstanceSettings, LISTENS_LINE, READY_LINE, RequestLog, Telegram, saved_line,
};
use auth_reconciler_tests::manager::ManagerTable;
use auth_reconciler_tests::stub::{Behaviour, Served, Stub};
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;

/// How long it waits for the database or for Telegram before it goes on without.
const LIMIT: Duration = Duration::from_secs(5);

/// What decides how it answers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) listening: bool,
    pub(crate) stopping: bool,
    /// The whole process answers nobody (but its control).
    pub(crate) hung: bool,
    /// Telegram has told it who it is.
    pub(crate) initialised: bool,
    pub(crate) telegram: Telegram,
    /// Answers so, whatever else holds, while it listens.
    pub(crate) pretends: Option<Behaviour>,
    pub(crate) listened_at: Option<DateTime<Utc>>,
    /// When it last became ready.
    pub(crate) ready_at: Option<DateTime<Utc>>,
    pub(crate) times_ready: u64,
}

impl State {
    fn behaviour(&self) -> Behaviour {
        if !self.listening || self.stopping {
            return Behaviour::NotListening;
        }
        if self.hung {
            return Behaviour::Hang;
        }
        if let Some(pretended) = &self.pretends {
            return pretended.clone();
        }
        match self.telegram {
            _ if !self.initialised => Behaviour::Disconnected,
            Telegram::Answers => Behaviour::Ready,
            Telegram::Fails => Behaviour::Error,
            Telegram::Hangs => Behaviour::Hang,
        }
    }
}

/// One instance.
pub(crate) struct Life {
    pub(crate) settings: InstanceSettings,
    pub(crate) began: DateTime<Utc>,
    stub: Stub,
    state: Mutex<State>,
    begin: Instant,
}

impl Life {
    /// Takes the port, on which nobody listens yet.
    pub(crate) async fn begin(settings: InstanceSettings) -> Result<Arc<Self>> {
        let (now, clock) = (Utc::now(), Instant::now());
        let began = settings.began.unwrap_or(now);
        let begin = match (now - began).to_std() {
            Ok(past) => clock.checked_sub(past).unwrap_or(clock),
            // It is to begin in the future.
            Err(_) => clock + (began - now).to_std().unwrap_or_default(),
        };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.port));
        let stub = Stub::start_at(address, settings.provider, Behaviour::NotListening).await?;
        let requests = settings.requests;
        stub.log_by(Arc::new(move |served, path| log(requests, served, path)));
        Ok(Arc::new(Self {
            state: Mutex::new(State {
                listening: false,
                stopping: false,
                hung: false,
                initialised: false,
                telegram: settings.telegram,
                pretends: None,
                listened_at: None,
                ready_at: None,
                times_ready: 0,
            }),
            settings,
            began: now,
            stub,
            begin,
        }))
    }

    pub(crate) fn stub(&self) -> &Stub {
        &self.stub
    }

    pub(crate) async fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Changes what decides its answers; when this returns it answers so.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock().await;
        let was_ready = matches!(state.behaviour(), Behaviour::Ready);
        change(&mut state);
        let behaviour = state.behaviour();
        if matches!(behaviour, Behaviour::Ready) && !was_ready {
            // Noted before the first answer can say so.
            state.ready_at = Some(Utc::now());
            state.times_ready += 1;
        }
        self.stub.set(behaviour).await
    }

    /// Starts up as a real one does, and says so.
    pub(crate) async fn live(self: Arc<Self>) {
        if let Err(error) = self.start_up().await {
            say(&format!("start-up failed: {error:#}"));
        }
    }

    async fn start_up(&self) -> Result<()> {
        let settings = &self.settings;
        say(&format!(
            "starting {} {}",
            settings.provider.name(),
            settings.id
        ));
        let mut writer = Writer::default();
        sleep_until(self.begin + settings.key_after).await;
        if settings.writes_key {
            let key = settings.id.to_string();
            writer.write(settings, "api_key", &key).await;
        }
        sleep_until(self.begin + settings.listens_after).await;
        self.change(|state| {
            state.listening = true;
            state.listened_at = Some(Utc::now());
        })
        .await?;
        say(&format!("{LISTENS_LINE} {}", settings.port));
        sleep(settings.asks_after).await;
        // The real one prints the address that it asks, and the token is a part of it.
        let token = &settings.token;
        say(&format!("GET https://api.telegram.org/bot{token}/getMe"));
        match settings.telegram {
            Telegram::Answers => sleep(settings.telegram_takes).await,
            Telegram::Fails => {
                sleep(settings.telegram_takes).await;
                say("initialisation failed: Telegram answered with an error");
                return Ok(());
            }
            Telegram::Hangs => {
                sleep(LIMIT).await;
                say("initialisation failed: Telegram did not answer");
                return Ok(());
            }
        }
        if let Some(later) = settings.account_after_ready {
            self.be_ready().await?;
            sleep(later).await;
            self.save_account(&mut writer).await;
        } else {
            self.save_account(&mut writer).await;
            sleep(settings.ready_after_account).await;
            self.be_ready().await?;
        }
        Ok(())
    }

    async fn be_ready(&self) -> Result<()> {
        self.change(|state| state.initialised = true).await?;
        say(READY_LINE);
        Ok(())
    }

    async fn save_account(&self, writer: &mut Writer) {
        if self.settings.writes_account {
            let account = &self.settings.account;
            writer.write(&self.settings, "account", account).await;
        }
    }
}

/// The instance's connection to the database, made when it is first needed and kept.
#[derive(Default)]
struct Writer(Option<Client>);

impl Writer {
    /// Writes one column, or says that it could not, which keeps no real instance from going on.
    async fn write(&mut self, settings: &InstanceSettings, column: &str, value: &str) {
        let Some(url) = &settings.database else {
            return;
        };
        let table = ManagerTable::message_instances_named(&settings.table);
        let write = async {
            let client = match self.0.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => connect(url).await?,
            };
            let client = self.0.insert(client);
            table.set(client, settings.id, column, &value).await
        };
        match timeout(LIMIT, write).await {
            Ok(Ok(())) => say(&saved_line(column)),
            Ok(Err(error)) => say(&format!("cannot save {column}: {error:#}")),
            Err(_) => say(&format!(
                "cannot save {column}: the database does not answer"
            )),
        }
    }
}

/// Logs a request as it is told to.
fn log(requests: RequestLog, served: Served, path: &str) {
    let path = if requests.with_path {
        path
    } else {
        "a request"
    };
    let lines = |number: u32, what: &str| (0..number).for_each(|_| say(&format!("{what} {path}")));
    match served {
        Served::Came => lines(requests.before, "debug: GET"),
        Served::Answers => lines(requests.with, "debug: 200 after 1 ms for GET"),
        Served::Answered if requests.after > 0 => {
            let what = format!("info: answered {path}");
            tokio::spawn(async move {
                sleep(requests.later).await;
                (0..requests.after).for_each(|_| say(&what));
            });
        }
        Served::Answered => {}
    }
}

/// Prints a line to the log; whether anybody reads it is not its business.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
