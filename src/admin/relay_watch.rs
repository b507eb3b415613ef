//! What this node knows of the relay of order events.

use tokio::sync::watch;

/// The relay of order events to Redis, of an engine that sells with others.
#[derive(Clone, Debug)]
pub struct RelayWatch {
    /// Whether this engine is the one that sends them.
    pub elected: watch::Receiver<bool>,
    /// The number of the last event that this node has seen in the order store.
    pub newest: watch::Receiver<u64>,
    /// The number of the last event in the stream, as this engine knows it; `None` while it cannot send to the stream.
    pub sent: watch::Receiver<Option<u64>>,
}

impl RelayWatch {
    /// Whether this engine is the one that sends them.
    pub(super) fn is_elected(&self) -> bool {
        *self.elected.borrow()
    }

    /// Events that wait for this engine to send them; `None` while another engine sends them, or this one cannot.
    pub(super) fn waiting(&self) -> Option<u64> {
        let sent = self.sent.borrow().filter(|_| self.is_elected())?;
        Some(self.newest.borrow().saturating_sub(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sends_events_knows_how_many_wait() {
        let (elect, elected) = watch::channel(false);
        let (see, newest) = watch::channel(7);
        let (send, sent) = watch::channel(None);
        let relay = RelayWatch { elected, newest, sent };
        assert_eq!((relay.is_elected(), relay.waiting()), (false, None));
        elect.send_replace(true);
        assert_eq!((relay.is_elected(), relay.waiting()), (true, None), "the stream was not reached");
        send.send_replace(Some(5));
        assert_eq!(relay.waiting(), Some(2));
        // What was sent may be known before it was seen.
        send.send_replace(Some(8));
        assert_eq!(relay.waiting(), Some(0));
        see.send_replace(11);
        assert_eq!(relay.waiting(), Some(3));
        elect.send_replace(false);
        assert_eq!(relay.waiting(), None);
    }
}
