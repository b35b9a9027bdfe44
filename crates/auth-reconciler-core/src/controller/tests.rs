//! What follows from which input, command by command.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::container::Listed;
use crate::queue::Limits;

mod bell;
mod log;
mod others;
mod over_terms;
mod parts;
mod reconciling;
mod records;
mod repeated;
mod rules;
mod steps;
mod terms;

const ECHO: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

const fn key(number: u128) -> Key {
    Key {
        watched_id: 1,
        instance_id: Uuid::from_u128(number),
    }
}

fn epoch(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn settings() -> Settings {
    Settings {
        limits: Limits::with_slots(4, 60, ms(500)),
        follow: follow::Limits::with_places(4),
        echo_interval: ECHO,
        policy: Policy::default(),
        has_engine: false,
        record_lanes: 3,
        seed: 1,
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        error: "it failed".to_owned(),
        advice: None,
        kind,
    }
}

/// All that is to be done now. Reads have no result yet, but keep no other from being read; there is nothing in the log.
fn commands(controller: &mut Controller, now: Moment) -> Vec<Command> {
    let mut all = Vec::new();
    while let Some(command) = controller.next(now) {
        if let Command::Read { batch, keys, log } = &command {
            controller.reads.ended();
            if log.is_some() {
                controller.log_read(*batch, now, Ok(nothing()), now);
            }
            if keys.is_empty() {
                continue;
            }
        }
        all.push(command);
    }
    all
}

/// What a read takes out of an empty log.
fn nothing() -> Taken {
    Taken {
        instances: Vec::new(),
        more: false,
        seen: LogSeen {
            in_progress: Some(Vec::new()),
            ..LogSeen::default()
        },
    }
}

/// The work among it.
fn work(commands: &[Command]) -> Vec<Work> {
    let work = commands.iter().filter_map(|command| {
        let Command::Do { work, .. } = command else {
            return None;
        };
        Some(work.clone())
    });
    work.collect()
}

/// Who is read among it.
fn reconciled_keys(commands: Vec<Command>) -> Vec<Key> {
    let keys = commands.into_iter().filter_map(|command| {
        let Command::Read { keys, .. } = command else {
            return None;
        };
        Some(keys)
    });
    keys.flatten().collect()
}

fn notices(commands: &[Command]) -> Vec<Notice> {
    let notices = commands.iter().filter_map(|command| {
        let Command::Say(notice) = command else {
            return None;
        };
        Some(notice.clone())
    });
    notices.collect()
}

fn scan(unsettled: bool, every_row: bool) -> Work {
    Work::Scan(Wanted {
        unsettled,
        put_off: unsettled,
        every_row,
    })
}

fn done(term: u128, done: Done) -> Input {
    Input::Done {
        epoch: epoch(term),
        done,
    }
}

fn led(term: u128) -> Input {
    Input::Led {
        epoch: epoch(term),
        tables: [1].into(),
        has_sleeper_lock: true,
    }
}

/// A scan that found these keys.
fn found(term: u128, unsettled: bool, every_row: bool, keys: &[(Key, Cause)]) -> Input {
    let backlog = Backlog {
        tables: [1].into(),
        keys: keys.to_vec(),
        owed: every_row,
        ..Backlog::default()
    };
    done(
        term,
        Done::Scanned {
            wanted: Wanted {
                unsettled,
                put_off: unsettled,
                every_row,
            },
            result: Ok(backlog),
        },
    )
}

fn rang(key: Key) -> Input {
    Input::Notified(Notified {
        rang: true,
        hints: [key].into(),
        ..Notified::default()
    })
}

fn lost() -> Input {
    Input::Notified(Notified {
        lost: Some("it was cut".to_owned()),
        ..Notified::default()
    })
}

/// One that leads, has scanned, told and been told all of that, and has nothing to do.
fn serving(settings: Settings) -> Controller {
    let mut controller = Controller::new(settings);
    commands(&mut controller, ms(0));
    controller.handle(led(1), ms(0));
    commands(&mut controller, ms(0));
    controller.handle(found(1, true, false, &[]), ms(0));
    controller.handle(done(1, Done::NotedEngine(true)), ms(0));
    commands(&mut controller, ms(0));
    controller.handle(done(1, Done::WorkedOff(Round::default())), ms(0));
    controller.handle(done(1, Done::Awaited(Ok(true))), ms(0));
    assert_eq!(commands(&mut controller, ms(0)), []);
    // Tests count batches from here.
    controller.reads = Batches::default();
    controller.log.begin_test();
    controller
}

fn listed(id: &str) -> Listed {
    Listed {
        id: id.to_owned(),
        state: "running".to_owned(),
        created: 0,
        network: String::new(),
    }
}
