//! A container that logs its requests in every way, and becomes ready at every moment: nothing that it told
//! is missed, and it is not asked for ever.

use std::ops::Range;

use super::*;
use crate::backoff::Backoff;

/// How the container logs the requests that it serves, times in ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logging {
    /// Lines as each request comes, before its answer goes, and after that.
    pub(super) lines: [u32; 3],
    /// How long after the answer the last of these come.
    pub(super) after: u64,
    pub(super) with_path: bool,
    /// From a request to its answer.
    pub(super) takes: u64,
}

const NET: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(60),
};

/// One run.
pub(super) struct Run {
    now: u64,
    followers: Followers<String>,
    logging: Logging,
    /// What the container will say, and when.
    pub(super) to_come: Vec<(u64, u32, bool)>,
    out: Option<u64>,
    net_at: u64,
    attempts: u32,
    pub(super) sent: Vec<u64>,
}

impl Run {
    pub(super) fn new(logging: Logging) -> Self {
        Self::of(profile(), logging)
    }

    pub(super) fn of(profile: &'static Profile, logging: Logging) -> Self {
        let (key, life) = ("a".to_owned(), life("container of a"));
        let mut followers = Followers::new(LIMITS);
        followers.want(&key, &life, profile, ms(0));
        all(&mut followers, ms(0));
        followers.began(&key, ms(0));
        Self {
            now: 0,
            followers,
            logging,
            to_come: Vec::new(),
            out: None,
            net_at: 0,
            attempts: 0,
            sent: Vec::new(),
        }
    }

    fn send(&mut self, now: u64) {
        let (key, Logging { lines, after, .. }) = ("a".to_owned(), self.logging);
        self.followers.begun(&key, ms(now));
        self.followers.sent(&key, ms(now));
        let answered = now + self.logging.takes;
        let moments = [now, answered, answered + after];
        for (moment, lines) in moments.into_iter().zip(lines) {
            self.to_come.push((moment, lines, self.logging.with_path));
        }
        self.out = Some(answered);
        self.sent.push(now);
    }

    /// Whatever happens before `end`; between two moments at which something is due nothing does.
    pub(super) fn until(&mut self, end: u64) {
        let mut now = self.now;
        while now < end {
            self.step(now);
            let due = self.followers.deadline().map(|due| {
                let whole = u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
                whole + u64::from(ms(whole) < due)
            });
            let said = self.to_come.iter().map(|(moment, _, _)| *moment).min();
            let net = self.out.is_none().then_some(self.net_at);
            let next = [due, said, self.out, net].into_iter().flatten().min();
            now = next.unwrap_or(end).max(now + 1);
        }
        self.now = end;
    }

    /// One millisecond.
    fn step(&mut self, now: u64) {
        let key = "a".to_owned();
        let (said, to_come): (Vec<_>, _) = self
            .to_come
            .drain(..)
            .partition(|(moment, _, _)| *moment <= now);
        self.to_come = to_come;
        for (_, lines, with_path) in said {
            let of_path = if with_path { lines } else { 0 };
            self.followers.said(&key, lines, of_path, ms(now));
        }
        if self.out.is_some_and(|answered| answered <= now) {
            self.out = None;
            self.followers.answered(&key, Kind::NotConnected, ms(now));
            self.followers.finished(&key, ms(now));
        }
        for command in all(&mut self.followers, ms(now)) {
            match command {
                Command::Look { .. } => self.send(now),
                Command::GiveUp { .. } => {
                    self.out = None;
                    self.followers.finished(&key, ms(now));
                }
                Command::Attach { .. } | Command::Detach { .. } => {}
            }
        }
        if self.out.is_none() && self.net_at <= now {
            self.send(now);
            let step = NET.delay(self.attempts, 0.0);
            self.attempts = Backoff::after(self.attempts, true);
            self.net_at = now + u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        }
    }

    pub(super) fn sent_in(&self, range: Range<u64>) -> usize {
        self.sent.iter().filter(|at| range.contains(at)).count()
    }
}

fn loggings() -> Vec<Logging> {
    let mut all = Vec::new();
    for number in 0..=5 {
        for place in 0..4 {
            let mut lines = [0; 3];
            match place {
                3 => {
                    for line in 0..number {
                        lines[line % 3] += 1;
                    }
                }
                place => lines[place] = u32::try_from(number).unwrap_or(0),
            }
            for after in [1, 25, 50] {
                for takes in [1, 5, 20] {
                    all.extend([true, false].map(|with_path| Logging {
                        lines,
                        after,
                        with_path,
                        takes,
                    }));
                }
            }
        }
    }
    all
}

#[test]
fn a_line_at_any_moment_leads_to_a_look_that_sees_what_it_told() {
    let mut worst = 0;
    for logging in loggings() {
        let mut calm = Run::new(logging);
        calm.until(30_000);
        // Around a look while nothing is learnt, one a little later, and one of the net long after.
        let of_net = calm.sent.iter().rfind(|at| **at > 20_000).copied();
        let of_net = of_net.expect("the net looks");
        for look in [0, 350, of_net] {
            for told in (look.saturating_sub(5)..look + 120).step_by(7) {
                let mut run = Run::new(logging);
                run.to_come.push((told, 1, false));
                run.until(told + 101);
                // A probe that is sent after it sees it, whenever it is handled.
                let seen = run.sent.iter().find(|sent| **sent >= told);
                let late = seen.map(|sent| sent - told);
                assert!(
                    late.is_some_and(|late| late <= 100),
                    "{logging:?} {told}: {late:?}"
                );
                worst = worst.max(late.unwrap_or(0));
            }
        }
    }
    assert!(worst > 20, "windows were met: {worst} ms");
}

#[test]
fn a_state_that_lasts_is_asked_about_twice_a_minute_at_most() {
    for logging in loggings() {
        let mut run = Run::new(logging);
        run.until(300_000);
        let first = run.sent_in(0..60_000);
        assert!(first <= 11 + 12, "{logging:?}: {first} in the first minute");
        for minute in 1..5 {
            let sent = run.sent_in(minute * 60_000..(minute + 1) * 60_000);
            assert!(sent <= 2, "{logging:?}: {sent} in minute {minute}");
        }
    }
}
