use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc};

use super::*;

/// Batches as they begin, each of which waits until it may end.
struct Held {
    batcher: Arc<Batcher<u32, u32>>,
    began: mpsc::UnboundedReceiver<Vec<u32>>,
    may_end: Arc<Semaphore>,
}

fn held(bound: usize) -> Held {
    let (began, batches) = mpsc::unbounded_channel();
    let may_end = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&may_end);
    let batcher = Batcher::start(
        move |waiting| waiting.len().min(bound),
        move |items: Vec<u32>| {
            let (began, held) = (began.clone(), Arc::clone(&held));
            async move {
                began.send(items.clone()).unwrap();
                held.acquire().await.unwrap().forget();
                items.iter().map(|item| item * 10).collect()
            }
        },
    );
    Held {
        batcher: Arc::new(batcher),
        began: batches,
        may_end,
    }
}

#[tokio::test]
async fn what_is_wanted_while_a_batch_is_under_way_goes_with_the_next_up_to_the_bound() {
    let Held {
        batcher,
        began: mut batches,
        may_end,
    } = held(3);
    let run = |item| {
        let batcher = Arc::clone(&batcher);
        async move { batcher.run(item).await }
    };
    let first = tokio::spawn(run(1));
    assert_eq!(batches.recv().await, Some(vec![1]), "at once, and alone");
    let others = tokio::spawn(futures_util::future::join_all((2..=6).map(run)));
    // They are asked for in order by one task, which is polled once before it waits.
    tokio::task::yield_now().await;
    may_end.add_permits(1);
    assert_eq!(first.await.unwrap(), Some(10));
    assert_eq!(batches.recv().await, Some(vec![2, 3, 4]));
    may_end.add_permits(2);
    assert_eq!(batches.recv().await, Some(vec![5, 6]));
    let results: Vec<_> = others.await.unwrap().into_iter().flatten().collect();
    assert_eq!(results, [20, 30, 40, 50, 60], "each gets its own");
}

#[tokio::test]
async fn a_batch_that_panics_ends_no_other() {
    let begun = Arc::new(AtomicUsize::new(0));
    let batcher = Batcher::start(VecDeque::len, move |items: Vec<u32>| {
        let first = begun.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(!first, "the first one panics");
            items
        }
    });
    assert_eq!(batcher.run(1).await, None);
    assert_eq!(batcher.run(2).await, Some(2));
}
