use std::cell::RefCell;
use std::future::ready;

use super::*;

/// Works off ten items of which these fail every batch that they are in; returns what became of each, and the batches.
async fn with_culprits(culprits: &[usize], of_one: bool) -> (Vec<String>, Vec<Vec<usize>>) {
    let batches = RefCell::new(Vec::new());
    let results = halved(
        10,
        |_: &String| of_one,
        |places: Vec<usize>| {
            batches.borrow_mut().push(places.clone());
            let ended = match places.iter().find(|place| culprits.contains(place)) {
                Some(culprit) => Err(format!("for {culprit}")),
                None => Ok(places.iter().map(|place| Some(place.to_string())).collect()),
            };
            ready(ended)
        },
    )
    .await;
    let told = |result: Worked<String, String>| match result {
        Worked::Done(done) => done,
        Worked::Failed(failure) => failure.to_string(),
        Worked::Unanswered | Worked::NotTried => "nothing".to_owned(),
    };
    (
        results.into_iter().map(told).collect(),
        batches.into_inner(),
    )
}

#[tokio::test]
async fn one_batch_suffices_where_nothing_fails() {
    let (results, batches) = with_culprits(&[], true).await;
    assert_eq!(results, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(batches.len(), 1);
}

#[tokio::test]
async fn who_fails_is_alone_in_the_end_and_takes_nobody_along() {
    let (results, batches) = with_culprits(&[2, 7], true).await;
    assert_eq!(
        results,
        ["0", "1", "for 2", "3", "4", "5", "6", "for 7", "8", "9"]
    );
    assert!(batches.contains(&vec![2]) && batches.contains(&vec![7]));
}

#[tokio::test]
async fn what_is_the_fault_of_none_is_not_tried_again() {
    let (results, batches) = with_culprits(&[3], false).await;
    assert_eq!(results, ["for 3"; 10]);
    assert_eq!(batches.len(), 1);
}

/// Two that cannot be in one batch, as of rows one of which writes the other.
#[tokio::test]
async fn what_must_be_tried_in_smaller_company_is_and_the_others_are_done() {
    let batches = RefCell::new(Vec::new());
    let results = halved(
        5,
        |_: &String| true,
        |places: Vec<usize>| {
            batches.borrow_mut().push(places.clone());
            let together = places.contains(&1) && places.contains(&3);
            let done = |place: usize| (!together || place.is_multiple_of(2)).then_some(place);
            ready(Ok(places.into_iter().map(done).collect()))
        },
    )
    .await;
    for (place, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Worked::Done(done) if done == place));
    }
    assert_eq!(
        batches.into_inner(),
        [vec![0, 1, 2, 3, 4], vec![1], vec![3]]
    );
}

#[tokio::test]
async fn one_that_gets_nothing_even_alone_is_not_tried_for_ever() {
    let results = halved(
        2,
        |_: &String| true,
        |places: Vec<usize>| {
            let done = |place: usize| (place == 0).then_some(());
            ready(Ok(places.into_iter().map(done).collect()))
        },
    )
    .await;
    assert!(matches!(
        results[..],
        [Worked::Done(()), Worked::Unanswered]
    ));
}

/// As a row whose trigger sleeps until the limit of statements.
#[tokio::test]
async fn nobody_waits_in_many_companies_for_one_that_is_slow() {
    let batches = RefCell::new(Vec::new());
    let results = halved(
        8,
        |_: &String| false,
        |places: Vec<usize>| {
            batches.borrow_mut().push(places.clone());
            let slow = places.contains(&5);
            if slow {
                std::thread::sleep(LONG + Duration::from_millis(1));
            }
            ready(match (slow, places.len()) {
                (true, 1) => Err("too slow".to_owned()),
                (true, _) => Ok(places.iter().map(|_| None).collect()),
                (false, _) => Ok(places.iter().copied().map(Some).collect()),
            })
        },
    )
    .await;
    let mut expected = vec![(0..8).collect::<Vec<_>>()];
    expected.extend((0..=5).map(|place| vec![place]));
    assert_eq!(batches.into_inner(), expected);
    let done = results
        .iter()
        .filter(|one| matches!(one, Worked::Done(_)))
        .count();
    assert_eq!(done, 5, "who came before it");
    assert!(matches!(results[5], Worked::Failed(_)));
    assert!(
        matches!(results[6..], [Worked::NotTried, Worked::NotTried]),
        "they come again"
    );
}

/// As rows whose trigger sleeps and then lets the write be: all of them together would keep others of the table waiting.
#[tokio::test]
async fn after_one_that_took_long_alone_and_was_done_nobody_is_tried() {
    let batches = RefCell::new(Vec::new());
    let results = halved(
        4,
        |_: &String| false,
        |places: Vec<usize>| {
            batches.borrow_mut().push(places.clone());
            std::thread::sleep(LONG + Duration::from_millis(1));
            let alone = places.len() == 1;
            ready(Ok(places
                .into_iter()
                .map(|at| alone.then_some(at))
                .collect()))
        },
    )
    .await;
    assert_eq!(batches.into_inner(), [vec![0, 1, 2, 3], vec![0]]);
    assert!(matches!(
        results[..],
        [
            Worked::Done(0),
            Worked::NotTried,
            Worked::NotTried,
            Worked::NotTried
        ]
    ));
}

/// Else what our own statement does wrong would be told as somebody who takes too long, and come again for ever as busy.
#[test]
fn who_got_nothing_even_alone_has_an_error_of_its_own_and_who_was_not_tried_is_busy() {
    let unanswered = Worked::<(), StoreError>::Unanswered.result("read");
    assert!(unanswered.is_err_and(|failure| !failure.is_busy() && failure.is_refusal()));
    let not_tried = Worked::<(), StoreError>::NotTried.result("read");
    assert!(not_tried.is_err_and(|failure| failure.is_busy()));
}
