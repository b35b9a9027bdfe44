//! The small parts that inputs are made of.

use super::reconciling::begin;
use super::*;
use crate::container::Container;
use crate::controller::batch::Batches;
use crate::facts::tests::{row, seen, with};
use crate::profile::Profile;

/// Output is followed of a container that runs, of an instance whose provider is known.
#[test]
fn the_output_of_a_container_that_runs_is_to_be_followed() {
    let output = |container, provider: Option<&str>| {
        let mut facts = with(&[]);
        facts.container = container;
        facts.sighting = seen(Some(1));
        facts.row = Some(row(None));
        if let Some(row) = &mut facts.row {
            row.provider = provider.map(ToOwned::to_owned);
        }
        Output::of(&facts)
    };
    let followed = output(Container::Running, Some("telegram")).expect("it runs");
    assert_eq!(followed.life.container, "a");
    assert_eq!(Some(followed.profile), Profile::of(Some("telegram")));
    for (container, provider) in [
        (Container::Running, Some("smoke")),
        (Container::Running, None),
        (Container::Paused, Some("telegram")),
        (Container::Unknown, Some("telegram")),
        (Container::Removed, Some("telegram")),
    ] {
        assert_eq!(output(container, provider), None, "{container:?}");
    }
}

/// Nothing else is to come of one that is ready: no look wants it again.
#[test]
fn the_output_of_one_that_is_ready_is_followed_again_when_the_engine_is_back() {
    let mut controller = serving(Settings {
        has_engine: true,
        ..settings()
    });
    begin(&mut controller, key(1), FIRST_SIGHT);
    let ready = Outcome::Ready(Output {
        life: follow::Life {
            container: "c1".to_owned(),
            started_at: None,
        },
        profile: &crate::profile::PROFILES[0],
    });
    controller.end_run(key(1), ready, FIRST_SIGHT);
    let follows = |commands: &[Command]| {
        let follow = |command: &&Command| matches!(command, Command::Follow { .. });
        commands.iter().filter(follow).count()
    };
    assert_eq!(follows(&commands(&mut controller, FIRST_SIGHT)), 1);
    let news = |status| {
        Input::Engine(EngineNews {
            status: Some(status),
            ..EngineNews::default()
        })
    };
    let (lost, back) = (ms(1_000), ms(2_000));
    controller.handle(news(EngineStatus::OutOfSight("it hangs".to_owned())), lost);
    let said = commands(&mut controller, lost);
    assert!(
        said.contains(&Command::Unfollow { key: key(1) }),
        "{said:?}"
    );
    controller.handle(news(EngineStatus::InSight), back);
    assert_eq!(follows(&commands(&mut controller, back)), 1);
}

#[test]
fn when_nobody_waits_any_more_what_is_under_way_goes_on() {
    let mut batches = Batches::default();
    batches.want(1);
    assert_eq!(batches.begin(|_| 1), Some(vec![1]));
    batches.want(2);
    batches.clear();
    assert_eq!(batches.may_begin(), None, "the first is under way");
    batches.ended();
    assert_eq!(batches.begin(|_| 1), None, "nobody waits");
}

#[test]
fn what_has_begun_and_not_ended_is_counted() {
    let mut controller = serving(settings());
    assert_eq!((controller.in_flight(), controller.armed()), (0, 0));
    for number in [1, 2] {
        controller.wake(key(number), Cause::Insert, ms(1));
    }
    assert_eq!(controller.in_flight(), 0, "nothing has begun");
    commands(&mut controller, ms(1));
    assert_eq!(controller.in_flight(), 2);
}

/// Of a table that is not served, or by one that does not lead, nothing is looked at.
#[test]
fn only_the_rows_of_tables_that_are_served_are_looked_at() {
    let mut controller = serving(settings());
    let other = Key {
        watched_id: 2,
        ..key(1)
    };
    controller.wake(other, Cause::Insert, ms(1));
    commands(&mut controller, ms(1));
    assert_eq!(controller.in_flight(), 0);
    let mut connecting = Controller::new(settings());
    connecting.wake(key(1), Cause::Insert, ms(0));
    assert_eq!(connecting.queue.waiting(), 0);
}
