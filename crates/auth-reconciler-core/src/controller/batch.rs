//! Natural batching: one batch is under way, and what is wanted meanwhile goes with the next. When none is under way one
//! begins at once with what there is, so nobody waits for company.

use std::collections::VecDeque;

/// What waits for the next batch, and the one that is under way.
#[derive(Debug)]
pub(super) struct Batches<T> {
    waiting: VecDeque<T>,
    /// Number of the next batch.
    next: u64,
    under_way: bool,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            next: 1,
            under_way: false,
        }
    }
}

impl<T> Batches<T> {
    /// Has an item go with the next batch. Returns the earliest that it can be.
    pub(super) fn want(&mut self, item: T) -> u64 {
        self.waiting.push_back(item);
        self.next
    }

    /// Number of the next batch.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Number of the next batch, if one may begin: none is under way.
    pub(super) fn may_begin(&self) -> Option<u64> {
        (!self.under_way).then_some(self.next)
    }

    /// The next batch, if none is under way and there is something for it: of those that wait, the oldest first, as many
    /// as `room` has; it is under way then.
    pub(super) fn begin(&mut self, room: impl FnOnce(&VecDeque<T>) -> usize) -> Option<Vec<T>> {
        self.begin_with(false, room)
    }

    /// The same, also if nobody waits for it but somebody who is not in this queue.
    pub(super) fn begin_with(
        &mut self,
        others: bool,
        room: impl FnOnce(&VecDeque<T>) -> usize,
    ) -> Option<Vec<T>> {
        if self.under_way || (self.waiting.is_empty() && !others) {
            return None;
        }
        self.under_way = true;
        self.next += 1;
        let room = room(&self.waiting).max(1).min(self.waiting.len());
        Some(self.waiting.drain(..room).collect())
    }

    /// Whether one is under way, or about to be.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way || !self.waiting.is_empty()
    }

    /// Those that wait for the next batch.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// Nobody waits any more. What is under way goes on.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The batch under way has ended.
    pub(super) const fn ended(&mut self) {
        self.under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_while_a_batch_is_under_way_goes_with_the_next_up_to_the_bound() {
        let mut batches = Batches::default();
        let three = |waiting: &VecDeque<u32>| waiting.len().min(3);
        assert_eq!(batches.begin(three), None);
        batches.want(1);
        assert_eq!(batches.begin(three), Some(vec![1]), "at once, and alone");
        for item in 2..=6 {
            assert_eq!(batches.want(item), 2);
            assert_eq!(batches.begin(three), None);
        }
        batches.ended();
        assert_eq!(batches.begin(three), Some(vec![2, 3, 4]));
        batches.ended();
        assert_eq!(batches.begin(three), Some(vec![5, 6]));
        batches.ended();
        assert_eq!(batches.begin(three), None);
    }

    #[test]
    fn one_that_fits_nowhere_goes_alone() {
        let mut batches = Batches::default();
        batches.want(1);
        batches.want(2);
        assert_eq!(batches.begin(|_| 0), Some(vec![1]));
    }
}
