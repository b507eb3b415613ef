//! Where whoever takes archived sales off the board is called. One call is enough for many sales.

/// The call, and who hears it.
#[derive(Debug)]
pub(super) struct Departures {
    call: flume::Sender<()>,
    called: flume::Receiver<()>,
}

impl Default for Departures {
    fn default() -> Self {
        let (call, called) = flume::bounded(1);
        Self { call, called }
    }
}

impl Departures {
    /// There is one more that leaves.
    pub fn call(&self) {
        // A call that nobody has heard yet is about this one, too.
        let _ = self.call.try_send(());
    }

    /// Where the calls are heard.
    pub fn called(&self) -> &flume::Receiver<()> {
        &self.called
    }
}
