//! What can be asked of an instance over its own port, while it listens.
//!
//! `GET counts` tells what it has been asked and when it became ready. `POST`: `revoke` (its token: exit 1 within
//! 100 ms), `exit?code=`, `crash`, `refuse` (it closes its port and lives on), `hang` and `unhang`, `telegram?state=answers|fails|hangs`, `disconnect` and `ready`
//! (each with a line in the log unless `silent=true`), `pretend?as=qr|authenticated|unauthorized|nothing`,
//! `flood?bytes_per_second=&seconds=&newlines=true&binary=true&wait=true` (answers when it is over if it is to wait),
//! `eat?mib=`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_reconciler_tests::instance::{READY_LINE, Telegram};
use auth_reconciler_tests::stub::{Behaviour, Call, Request};
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::life::{Life, State, say};
use crate::mischief;

/// For the answer to leave before the process, or its port, goes.
const FAREWELL: Duration = Duration::from_millis(20);

/// Does what is asked; `None` if it is not understood.
pub(crate) async fn handle(life: Arc<Life>, call: Call) -> Option<String> {
    match (call.method.as_str(), call.name.as_str()) {
        ("GET", "counts") => Some(counts(&life).await),
        ("POST", "revoke" | "exit" | "crash" | "refuse") => end(life, &call),
        ("POST", "flood" | "eat") => misbehave(&call).await,
        ("POST", _) => answer_otherwise(&life, &call).await,
        _ => None,
    }
}

/// Ends its process, or its listening, as soon as this has been answered.
fn end(life: Arc<Life>, call: &Call) -> Option<String> {
    match call.name.as_str() {
        "revoke" => {
            say("Telegram says 401: the token was revoked");
            leave(|| std::process::exit(1));
        }
        "exit" => {
            let code = i32::try_from(call.number("code", 1)).ok()?;
            leave(move || std::process::exit(code));
        }
        "crash" => leave(|| std::process::abort()),
        "refuse" => {
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                life.change(|state| state.stopping = true).await
            });
        }
        _ => return None,
    }
    done()
}

/// Writes, or takes memory, without measure.
async fn misbehave(call: &Call) -> Option<String> {
    match call.name.as_str() {
        "flood" => {
            let flood = mischief::Flood {
                bytes_per_second: call.number("bytes_per_second", 1_000_000),
                seconds: call.number("seconds", 1),
                newlines: call.is_set("newlines"),
                binary: call.is_set("binary"),
            };
            let flooding = tokio::task::spawn_blocking(move || flood.run());
            if call.is_set("wait") {
                flooding.await.ok()?;
            }
        }
        "eat" => {
            let mib = call.number("mib", 256);
            std::thread::spawn(move || mischief::eat(mib));
        }
        _ => return None,
    }
    done()
}

/// Changes what it answers from now on.
async fn answer_otherwise(life: &Life, call: &Call) -> Option<String> {
    match call.name.as_str() {
        "hang" => change(life, |state| state.hung = true).await,
        "unhang" => change(life, |state| state.hung = false).await,
        "telegram" => {
            let telegram = Telegram::of_word(call.parameters.get("state")?)?;
            change(life, |state| state.telegram = telegram).await
        }
        "disconnect" => {
            let done = change(life, |state| state.initialised = false).await;
            tell(call, "the connection to Telegram was lost");
            done
        }
        "ready" => {
            let done = change(life, |state| {
                state.initialised = true;
                state.telegram = Telegram::Answers;
                state.pretends = None;
            })
            .await;
            tell(call, READY_LINE);
            done
        }
        "pretend" => {
            let behaviour = match call.parameters.get("as")?.as_str() {
                "nothing" => None,
                "qr" => Some(Behaviour::Qr),
                "authenticated" => Some(Behaviour::Authenticated),
                "unauthorized" => Some(Behaviour::Status(401)),
                _ => return None,
            };
            change(life, |state| state.pretends = behaviour).await
        }
        _ => None,
    }
}

fn done() -> Option<String> {
    Some("{}".to_owned())
}

async fn change(life: &Life, change: impl FnOnce(&mut State)) -> Option<String> {
    life.change(change).await.ok()?;
    done()
}

fn tell(call: &Call, line: &str) {
    if !call.is_set("silent") {
        say(line);
    }
}

fn leave(how: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(FAREWELL);
        how();
    });
}

/// Times are microseconds since 1970, on the clock that all containers share with the machine.
async fn counts(life: &Life) -> String {
    let counts = life.stub().counts();
    let path = life.settings.provider.status_path();
    let asked = |met: &str| {
        let of = |request: &&Request| request.path == path && request.met == met;
        counts.requests.iter().filter(of).collect::<Vec<_>>()
    };
    let by_state: serde_json::Map<_, _> = counts
        .by_behaviour
        .keys()
        .map(|met| ((*met).to_owned(), json!(asked(met).len())))
        .filter(|(_, number)| *number != 0)
        .collect();
    let state = life.state().await;
    let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    json!({
        "began_us": life.began.timestamp_micros(),
        "listened_us": micros(state.listened_at),
        "ready_us": micros(state.ready_at),
        "times_ready": state.times_ready,
        "first_ready_answer_us": asked("ready").first().and_then(|request| micros(wall(request.at))),
        "status": by_state,
        "connections": counts.connections,
        "open": counts.open,
    })
    .to_string()
}

/// A moment of the steady clock on the wall's.
fn wall(at: Instant) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_signed(chrono::TimeDelta::from_std(at.elapsed()).ok()?)
}
