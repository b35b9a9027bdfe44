//! What a term leaves to the next one, and what is said of it.

use super::*;

/// However often terms end alike: that one served and was lost is told.
#[test]
fn the_loss_of_a_term_that_served_is_news_and_that_of_others_like_it_is_not() {
    let mut controller = serving(settings());
    let news = |controller: &mut Controller, at| {
        controller.handle(lost(), at);
        let said = notices(&commands(controller, at));
        said.into_iter().find_map(|notice| {
            if let Notice::ListenerLost { news, .. } = notice {
                Some(news)
            } else {
                None
            }
        })
    };
    assert_eq!(news(&mut controller, ms(1)), Some(true));
    controller.handle(led(2), ms(2));
    assert_eq!(
        news(&mut controller, ms(3)),
        Some(false),
        "it has not served"
    );
    controller.handle(led(3), ms(4));
    controller.handle(found(3, true, false, &[]), ms(5));
    assert_eq!(news(&mut controller, ms(6)), Some(true));
}

/// What was in the way of the looks of one term need not be in that of the next.
#[test]
fn failures_of_an_earlier_term_lengthen_no_pause() {
    let mut controller = serving(settings());
    let mut now = ms(1);
    let mut fail = |controller: &mut Controller| {
        controller.wake(key(5), Cause::Operator, now);
        commands(controller, now);
        controller.end_run(key(5), Outcome::Transient, now);
        let due = controller.queue.deadline(Default::default());
        let wait = due.expect("it is repeated") - now;
        now += wait;
        wait
    };
    let longest = (0..20).map(|_| fail(&mut controller)).max();
    assert!(longest > Some(ms(500)), "{longest:?}");
    controller.handle(lost(), ms(60_000));
    controller.handle(led(2), ms(60_000));
    controller.handle(found(2, true, false, &[]), ms(60_000));
    let wait = fail(&mut controller);
    assert!(wait <= ms(50), "{wait:?}");
}

#[test]
fn how_many_tries_failed_is_said_once_there_is_a_listener() {
    let mut controller = Controller::new(settings());
    for _ in 0..3 {
        controller.handle(Input::NotLed(failure(FailureKind::Passing)), ms(0));
    }
    controller.handle(led(1), ms(0));
    let said = notices(&commands(&mut controller, ms(0)));
    assert!(said.contains(&Notice::ListenerAgain(3)), "{said:?}");
}

/// The scan that found them was under way, and owed no looks for what it found at its end.
#[test]
fn changes_that_could_not_be_logged_have_every_row_looked_at_and_such_as_may_be_are_looked_for_again()
 {
    for (unlogged, waits) in [(true, false), (false, true)] {
        let mut controller = serving(settings());
        let wanted = Wanted {
            unsettled: false,
            put_off: false,
            every_row: false,
        };
        let backlog = Backlog {
            tables: [1].into(),
            unlogged,
            waits,
            ..Backlog::default()
        };
        let result = Ok(backlog);
        controller.handle(done(1, Done::Scanned { wanted, result }), ms(1));
        let scans = |told: &[Command]| {
            let all = work(told).into_iter();
            all.filter(|work| matches!(work, Work::Scan(_)))
                .collect::<Vec<_>>()
        };
        let at_once = scans(&commands(&mut controller, ms(1)));
        assert_eq!(at_once == [scan(false, true)], unlogged, "{at_once:?}");
        assert_eq!(at_once.is_empty(), waits, "{at_once:?}");
        controller.handle(done(1, Done::Echoed(Ok(Echo::default()))), ms(2));
        let with_the_echo = scans(&commands(&mut controller, ms(2)));
        assert_eq!(with_the_echo.is_empty(), unlogged, "{with_the_echo:?}");
    }
}
