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
#[derive(Clone)]
pub(super) struct Run {
    now: u64,
    followers: Followers<String>,
    pub(super) logging: Logging,
    /// What its probes meet.
    kind: Kind,
    /// What the container will say, and when.
    pub(super) to_come: Vec<(u64, u32, bool)>,
    out: Option<u64>,
    net_at: u64,
    attempts: u32,
    pub(super) sent: Vec<u64>,
    /// Where each request causes other lines than the one before.
    varies: Option<u64>,
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
            kind: Kind::NotConnected,
            to_come: Vec::new(),
            out: None,
            net_at: 0,
            attempts: 0,
            sent: Vec::new(),
            varies: None,
        }
    }

    /// Each request causes none to five lines, anywhere about its answer.
    pub(super) fn varying(logging: Logging, seed: u64) -> Self {
        Self {
            varies: Some(seed),
            ..Self::of(profile(), logging)
        }
    }

    /// A number below this one, another one each time.
    fn draw(&mut self, below: u64) -> u64 {
        let Some(state) = &mut self.varies else {
            return 0;
        };
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    fn send(&mut self, now: u64) {
        if self.varies.is_some() {
            self.logging.lines = [0; 3];
            for _ in 0..self.draw(6) {
                let place = usize::try_from(self.draw(3)).unwrap_or(0);
                self.logging.lines[place] += 1;
            }
            self.logging.after = self.draw(51);
        }
        let (key, Logging { lines, after, .. }) = ("a".to_owned(), self.logging);
        self.followers.begun(&key, ms(now));
        self.followers.sent(&key, ms(now));
        let answered = now + self.logging.takes;
        let moments = [now, answered, answered + after];
        // A refused one reaches nobody who would log it, and of one that hangs nothing but its coming is logged.
        let logged = if self.kind == Kind::Unheard {
            0
        } else if self.kind == Kind::Unanswered {
            1
        } else {
            3
        };
        for (moment, lines) in moments.into_iter().zip(lines).take(logged) {
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
            self.followers.answered(&key, self.kind, ms(now));
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
                3 => (0..number).for_each(|line| lines[line % 3] += 1),
                place => lines[place] = u32::try_from(number).unwrap_or(0),
            }
            // Where nothing comes after the answer, it does not matter when.
            let afters = if lines[2] == 0 {
                &[1][..]
            } else {
                &[1, 25, 50]
            };
            for (after, takes) in afters
                .iter()
                .flat_map(|after| [1, 5, 20].map(|takes| (*after, takes)))
            {
                all.extend([true, false].map(|with_path| Logging {
                    lines,
                    after,
                    with_path,
                    takes,
                }));
            }
        }
    }
    all
}

/// A line is told at every moment around this one, each time in the same state; how late what it told is seen,
/// at worst.
fn worst_around(run: &Run, look: u64, limit: u64) -> u64 {
    let first = look.saturating_sub(5).max(run.now);
    let late = (first..look + 120).map(|told| {
        let mut run = run.clone();
        run.to_come.push((told, 1, false));
        run.until(told + limit + 1);
        // A probe that is sent after it sees it, whenever it is handled.
        let seen = run.sent.iter().find(|sent| **sent >= told);
        let late = seen.map(|sent| sent - told);
        assert!(
            late.is_some_and(|late| late <= limit),
            "{:?}, told at {told}, a look at {look}: {late:?}",
            run.logging
        );
        late.unwrap_or(u64::MAX)
    });
    late.max().unwrap_or(0)
}

/// The state right before a look of the net that comes no sooner than `from`, and when that look comes.
fn before_net(run: &Run, from: u64) -> (Run, u64) {
    let mut run = run.clone();
    run.until(from);
    while run.out.is_some() {
        run.until(run.now + 1);
    }
    let look = run.net_at.max(run.now + 6);
    run.net_at = look;
    run.until(look - 6);
    (run, look)
}

#[test]
fn a_line_at_any_moment_leads_to_a_look_that_sees_what_it_told() {
    let mut worst = 0;
    for logging in loggings() {
        let new = Run::new(logging);
        // While nothing is learnt, when something may be, when all is, and when few tokens are left.
        for look in [0, 50, 150, 350] {
            worst = worst.max(worst_around(&new, look, 100));
        }
        for from in [5_000, 59_000, 61_000, 240_000] {
            let (run, look) = before_net(&new, from);
            worst = worst.max(worst_around(&run, look, 100));
        }
    }
    assert!(worst > 50, "windows were met: {worst} ms");
}

#[test]
fn the_last_token_is_as_good_as_the_first_and_without_one_it_is_waited_for() {
    for logging in loggings() {
        let mut run = Run::new(logging);
        run.until(70_000);
        // Four are left; talk takes all but one of them.
        for told in [71_000, 72_000, 73_000] {
            run.until(told);
            run.to_come.push((told, 1, false));
        }
        let (mut run, look) = before_net(&run, 74_000);
        worst_around(&run, look, 100);
        for told in (look + 1_000..look + 6_000).step_by(1_000) {
            run.until(told);
            run.to_come.push((told, 1, false));
        }
        run.until(look + 6_000);
        run.to_come.push((look + 6_000, 1, false));
        run.until(look + 67_000);
        let seen = run.sent.iter().find(|sent| **sent >= look + 6_000);
        assert!(seen.is_some(), "{logging:?}");
    }
}

#[test]
fn what_is_told_to_a_refused_or_hanging_look_is_seen_by_another() {
    for logging in loggings() {
        // How long these take is no matter of the logging.
        let kinds = [(Kind::Unheard, 1, 100), (Kind::Unanswered, 5_000, 120)];
        for (kind, takes, limit) in kinds.into_iter().filter(|_| logging.takes == 1) {
            let mut new = Run::new(Logging { takes, ..logging });
            new.kind = kind;
            for from in [5_000, 61_000] {
                let (run, look) = before_net(&new, from);
                worst_around(&run, look, limit);
            }
        }
    }
}

#[test]
fn a_state_that_lasts_is_asked_about_twice_a_minute_at_most() {
    for logging in loggings() {
        for kind in [Kind::NotConnected, Kind::ProviderError, Kind::Unheard] {
            let mut run = Run::new(logging);
            run.kind = kind;
            run.until(300_000);
            let first = run.sent_in(0..60_000);
            assert!(first <= 11 + 12, "{logging:?}: {first} in the first minute");
            for minute in 1..5 {
                let sent = run.sent_in(minute * 60_000..(minute + 1) * 60_000);
                assert!(sent <= 2, "{logging:?}: {sent} in minute {minute}");
            }
        }
    }
}
