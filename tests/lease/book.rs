//! The scripts of `lua/` as plain Rust: what one Redis server does with the book of one sale, movement by movement.
//!
//! The model checker explores it; the script tests hold the real server against it.

use crate::breaks::{Break, trusts_any_server};

/// Every number of the model: units, incarnations, epochs, identities of the server.
pub type Count = u8;

/// A node's account in the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    pub incarnation: Count,
    pub granted: Count,
    pub handed_back: Count,
    pub settled: Count,
    pub awaited: bool,
}

/// The book of one sale among `N` nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Book<const N: usize> {
    pub server: Count,
    pub epoch: Count,
    pub total: Count,
    pub revision: Count,
    pub returned: Count,
    pub accounts: [Account; N],
}

impl<const N: usize> Book<N> {
    /// Units that may be lent. Negative when more is lent than there is.
    pub fn available(&self) -> i16 {
        let held: i16 = self.accounts.iter().map(|l| i16::from(l.granted) - i16::from(l.handed_back)).sum();
        i16::from(self.total) - held + i16::from(self.returned)
    }

    /// Nodes that have not said what they hold.
    pub fn awaited(&self) -> usize {
        self.accounts.iter().filter(|account| account.awaited).count()
    }
}

/// Who calls: a node in one of its lives, with the epoch that it counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller {
    pub node: Count,
    pub incarnation: Count,
    pub epoch: Count,
}

/// One movement with its arguments, named as the scripts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call<const N: usize> {
    Register,
    Lease {
        seen: Count,
        divisor: Count,
        chunk_min: Count,
        chunk_max: Count,
    },
    HandBack {
        handed_back: Count,
    },
    Settle {
        durable: Count,
    },
    Return {
        returned: Count,
    },
    Resize {
        total: Count,
        revision: Count,
    },
    Reclaim {
        durable: Count,
    },
    Rebuild {
        server: Count,
        total: Count,
        revision: Count,
        returned: Count,
        /// Of the nodes that it names.
        incarnations: [Option<Count>; N],
        waits: bool,
    },
    Announce {
        held: Count,
        durable: Count,
    },
}

/// How a movement was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Ok,
    Lost,
    Behind,
    OldEpoch,
    OldIncarnation,
    Unregistered,
    Awaited,
    Rebuilding,
}

/// One Redis server: its identity (run and replication id as one number) and the sale's book, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server<const N: usize> {
    pub id: Count,
    pub book: Option<Book<N>>,
}

impl<const N: usize> Server<N> {
    /// The book, unless it is missing or was opened on another server.
    pub fn valid_book(&self, broken: Option<Break>) -> Option<&Book<N>> {
        self.book.as_ref().filter(|book| book.server == self.id || trusts_any_server(broken))
    }

    /// Runs one movement.
    pub fn run(&mut self, from: Caller, call: Call<N>, broken: Option<Break>) -> Verdict {
        if let Call::Rebuild { server, total, revision, returned, incarnations, waits } = call {
            let awaited = waits && broken != Some(Break::OpensWithoutAll);
            let named = |incarnation| Account { incarnation, awaited, ..Account::default() };
            let accounts = incarnations.map(|incarnation| incarnation.map_or_else(Account::default, named));
            let book = Book { server, epoch: from.epoch, total, revision, returned, accounts };
            return self.rebuild(book);
        }
        if self.valid_book(broken).is_none() {
            return Verdict::Lost;
        }
        let Some(book) = &mut self.book else { return Verdict::Lost };
        let verdict = judge(book, from, broken);
        let available = book.available();
        let awaited = book.awaited();
        let account = &mut book.accounts[usize::from(from.node)];
        match (call, verdict) {
            (Call::Register, Verdict::Unregistered) => {
                account.incarnation = from.incarnation;
                Verdict::Ok
            }
            (Call::Announce { held, durable }, Verdict::Awaited) => {
                *account = Account {
                    incarnation: from.incarnation,
                    granted: held,
                    handed_back: 0,
                    settled: durable,
                    awaited: false,
                };
                Verdict::Ok
            }
            (Call::Reclaim { durable }, Verdict::Awaited) => {
                *account = Account {
                    incarnation: from.incarnation,
                    granted: durable,
                    handed_back: 0,
                    settled: durable,
                    awaited: false,
                };
                Verdict::Ok
            }
            (Call::Reclaim { durable }, Verdict::Unregistered | Verdict::Ok) => {
                account.handed_back = account.handed_back.max(account.granted.saturating_sub(durable));
                account.incarnation = account.incarnation.max(from.incarnation);
                account.settled = account.settled.max(durable);
                Verdict::Ok
            }
            (Call::Lease { seen, .. }, Verdict::Ok) if account.granted < seen => Verdict::Lost,
            (Call::Lease { .. }, Verdict::Ok) if awaited > 0 => Verdict::Rebuilding,
            (Call::Lease { seen, divisor, chunk_min, chunk_max }, Verdict::Ok) => {
                if account.granted == seen {
                    let share = available.div_euclid(divisor.into());
                    let chunk = share.max(chunk_min.into()).min(chunk_max.into()).min(available);
                    account.granted += Count::try_from(chunk.max(0)).unwrap();
                }
                Verdict::Ok
            }
            (Call::HandBack { handed_back }, Verdict::Ok) if broken == Some(Break::MergesByAdding) => {
                account.handed_back += handed_back;
                Verdict::Ok
            }
            (Call::HandBack { handed_back }, Verdict::Ok) => {
                if i16::from(handed_back) > i16::from(account.granted) - i16::from(account.settled) {
                    return Verdict::Lost;
                }
                account.handed_back = account.handed_back.max(handed_back);
                Verdict::Ok
            }
            (Call::Settle { durable }, Verdict::Ok) => {
                account.settled = account.settled.max(durable);
                Verdict::Ok
            }
            (Call::Return { returned }, Verdict::Ok) if broken == Some(Break::ReturnsByAdding) => {
                book.returned += returned;
                Verdict::Ok
            }
            (Call::Return { returned }, Verdict::Ok) => {
                book.returned = book.returned.max(returned);
                Verdict::Ok
            }
            (Call::Resize { total, revision }, Verdict::Ok) => {
                if revision > book.revision {
                    (book.revision, book.total) = (revision, total);
                }
                Verdict::Ok
            }
            (_, refused) => refused,
        }
    }

    fn rebuild(&mut self, book: Book<N>) -> Verdict {
        if book.server != self.id {
            return Verdict::Lost;
        }
        if self.book.is_some_and(|old| old.server == self.id && book.epoch <= old.epoch) {
            return Verdict::OldEpoch;
        }
        self.book = Some(book);
        Verdict::Ok
    }
}

/// `Ok`, or why a call is refused (or needs another movement first).
fn judge<const N: usize>(book: &Book<N>, from: Caller, broken: Option<Break>) -> Verdict {
    let account = &book.accounts[usize::from(from.node)];
    // Who is awaited hears of the new epoch even then: or it would never announce, and open one book after another.
    if broken != Some(Break::IgnoresEpoch) || account.awaited {
        if from.epoch < book.epoch {
            return Verdict::OldEpoch;
        }
        if from.epoch > book.epoch {
            return Verdict::Behind;
        }
    }
    let any_incarnation = broken == Some(Break::IgnoresIncarnation);
    if from.incarnation < account.incarnation && !any_incarnation {
        Verdict::OldIncarnation
    } else if account.awaited {
        Verdict::Awaited
    } else if from.incarnation > account.incarnation {
        Verdict::Unregistered
    } else {
        Verdict::Ok
    }
}
