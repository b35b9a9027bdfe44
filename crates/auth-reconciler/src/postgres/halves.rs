//! A batch that fails as a whole is split in halves until what made it fail is alone, so that nobody fails for his
//! neighbour; and nobody waits for his neighbour for long: what takes its time in failing is not tried in many companies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::StoreError;

/// Who failed after longer than this is known to be slow.
const LONG: Duration = Duration::from_secs(1);

/// What became of an item of a batch.
#[derive(Debug)]
pub(super) enum Worked<R, E> {
    /// It has its result.
    Done(R),
    /// It failed: alone, or with the whole batch.
    Failed(Arc<E>),
    /// It got no result even alone.
    Unanswered,
    /// It was not tried any more, as another one takes too long.
    NotTried,
}

impl<R> Worked<R, StoreError> {
    /// The result of what was to be done with it, or why there is none.
    pub(super) fn result(self, act: &'static str) -> Result<R, StoreError> {
        match self {
            Self::Done(result) => Ok(result),
            Self::Failed(failure) => Err(StoreError::Shared(failure)),
            Self::Unanswered => Err(no_answer(act)),
            Self::NotTried => Err(StoreError::GaveWay {
                act,
                why: "another one of the batch takes too long".to_owned(),
            }),
        }
    }
}

/// Works off `count` items, as one batch if that goes; `work` is told which. It returns for each of them a result, or
/// `None` for one that must be tried again in smaller company; or it fails as a whole, and where `may_be_of_one` says that
/// a single item may be the reason, each half is tried by itself. Where it took [`LONG`] to find out, each item is; and when
/// one has taken as long alone, whatever came of it, what is left is not tried any more: it may take as long, and others wait.
///
/// Returns what became of each item, in their order.
pub(super) async fn halved<R, E, F>(
    count: usize,
    may_be_of_one: impl Fn(&E) -> bool,
    work: impl Fn(Vec<usize>) -> F,
) -> Vec<Worked<R, E>>
where
    F: Future<Output = Result<Vec<Option<R>>, E>>,
{
    let mut results: Vec<_> = (0..count).map(|_| Worked::NotTried).collect();
    // What is yet to be done, the first at the end.
    let mut left: Vec<Vec<usize>> = vec![(0..count).collect()];
    while let Some(places) = left.pop() {
        if places.is_empty() {
            continue;
        }
        let began = Instant::now();
        let ended = work(places.clone()).await;
        let long = began.elapsed() > LONG;
        let again = match ended {
            Ok(done) => {
                let mut again = Vec::new();
                for (place, result) in places.iter().zip(done) {
                    match result {
                        Some(result) => results[*place] = Worked::Done(result),
                        None if places.len() == 1 => results[*place] = Worked::Unanswered,
                        None => again.push(*place),
                    }
                }
                again
            }
            Err(failure) if may_be_of_one(&failure) && places.len() > 1 => places.clone(),
            Err(failure) => {
                let failure = Arc::new(failure);
                for place in &places {
                    results[*place] = Worked::Failed(Arc::clone(&failure));
                }
                Vec::new()
            }
        };
        match (long, places.len()) {
            (true, 1) => break,
            (false, 1) => {}
            (true, _) => left.extend(again.into_iter().rev().map(|place| vec![place])),
            (false, _) => {
                let (first, second) = again.split_at(again.len() / 2);
                left.extend([second.to_vec(), first.to_vec()]);
            }
        }
    }
    results
}

/// Of one that a batch has left out.
pub(super) fn no_answer(act: &'static str) -> StoreError {
    StoreError::Answer {
        act,
        what: "no answer for one of a batch".to_owned(),
    }
}

#[cfg(test)]
mod tests;
