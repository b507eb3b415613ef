//! How far feeds were read in vain. Whoever asks for the events of a quiet tenant behind the last one that he has seen would have
//! everything that happened to others since read again each time, and one day would not be answered in time any more.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Feeds that are remembered. One more, and all are forgotten: it costs each of them a reading.
const FEEDS_MAX: usize = 1_024;

/// A number in a feed; `None` before the first.
pub(super) type Mark = Option<u64>;

/// Of each feed two numbers between which it shows nothing, by what tells the feed from others. Only of feeds that show for
/// good what they show of that: then whoever goes on behind the second number instead of the first is told the same.
#[derive(Debug, Default)]
pub(super) struct FeedMarks(Mutex<HashMap<String, (Mark, Mark)>>);

impl FeedMarks {
    /// From where to read, for whoever is to see what is behind `after`.
    pub fn go_on_from(&self, feed: &str, after: Mark) -> Mark {
        match self.0.lock().get(feed) {
            Some((from, through)) if *from <= after => after.max(*through),
            _ => after,
        }
    }

    /// Behind `after` the feed shows nothing up to this number.
    pub fn note(&self, feed: &str, after: Mark, through: Mark) {
        let mut marks = self.0.lock();
        if marks.len() >= FEEDS_MAX && !marks.contains_key(feed) {
            marks.clear();
        }
        let (from, known) = marks.entry(feed.to_owned()).or_insert((after, through));
        if *from <= after && after <= *known {
            *known = (*known).max(through);
        } else {
            (*from, *known) = (after, through);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_in_vain_is_passed_over_by_whoever_has_seen_what_is_before_it() {
        let marks = FeedMarks::default();
        let from = |after| marks.go_on_from("quiet", after);
        assert_eq!(from(Some(3)), Some(3));
        marks.note("quiet", Some(3), Some(90));
        assert_eq!([from(Some(2)), from(None)], [Some(2), None], "there may be something before it");
        assert_eq!([from(Some(3)), from(Some(40)), from(Some(90))], [Some(90); 3]);
        assert_eq!(from(Some(91)), Some(91));
        assert_eq!(marks.go_on_from("another", Some(3)), Some(3));
        // It was read on from there, or from somewhere else.
        marks.note("quiet", Some(3), Some(120));
        assert_eq!(from(Some(3)), Some(120));
        marks.note("quiet", Some(40), Some(100));
        assert_eq!(from(Some(3)), Some(120), "nothing is forgotten");
        marks.note("quiet", Some(200), Some(300));
        assert_eq!([from(Some(3)), from(Some(200))], [Some(3), Some(300)], "between them may be something");
    }

    #[test]
    fn few_feeds_are_remembered() {
        let marks = FeedMarks::default();
        for feed in 0..5 * FEEDS_MAX {
            marks.note(&feed.to_string(), None, Some(1));
            assert!(marks.0.lock().len() <= FEEDS_MAX);
            assert_eq!(marks.go_on_from(&feed.to_string(), None), Some(1));
        }
    }
}
