//! Between the crate's words and the small numbers of the models.

use seckill::domain::{self, NodeId, SaleUnits};
use seckill::ledger::lease::{self, Ask, BookReply, Movement, NodeAccount, Rebuild, ServerId};

use crate::book::{Book, Call, Caller, Count, Server, Verdict};
use crate::world::{Share, Store};

pub fn node(number: usize) -> NodeId {
    NodeId::new(u16::try_from(number).unwrap()).unwrap()
}

pub fn count(number: u64) -> Count {
    Count::try_from(number).expect("the instance is small")
}

/// The identity of a server of the model.
pub fn server_id(id: Count) -> ServerId {
    ServerId { run: id.to_string(), repl: String::new() }
}

pub fn same(model: Verdict) -> lease::Verdict {
    match model {
        Verdict::Ok => lease::Verdict::Ok,
        Verdict::Lost => lease::Verdict::Lost,
        Verdict::Behind => lease::Verdict::Behind,
        Verdict::OldEpoch => lease::Verdict::OldEpoch,
        Verdict::OldIncarnation => lease::Verdict::OldIncarnation,
        Verdict::Unregistered => lease::Verdict::Unregistered,
        Verdict::Awaited => lease::Verdict::Awaited,
        Verdict::Rebuilding => lease::Verdict::Rebuilding,
    }
}

/// What a machine asks of the books, as the model's server takes it. `None` for what it asks of the store, or of both.
pub fn call<const N: usize>(ask: &Ask) -> Option<(Caller, Call<N>)> {
    Some(match ask {
        Ask::Move(from, movement) => (
            Caller {
                node: count(from.node.number().into()),
                incarnation: count(from.incarnation),
                epoch: count(from.epoch),
            },
            match *movement {
                Movement::Register => Call::Register,
                Movement::Lease { seen, chunk, .. } => Call::Lease {
                    seen: count(seen),
                    divisor: count(chunk.divisor),
                    chunk_min: count(chunk.min),
                    chunk_max: count(chunk.max),
                },
                Movement::HandBack { handed_back } => Call::HandBack { handed_back: count(handed_back) },
                Movement::Settle { durable } => Call::Settle { durable: count(durable) },
                Movement::Return { returned } => Call::Return { returned: count(returned) },
                Movement::Resize { total, revision } => {
                    Call::Resize { total: count(total), revision: count(revision) }
                }
                Movement::Reclaim { durable } => Call::Reclaim { durable: count(durable) },
                Movement::Announce { held, durable } => {
                    Call::Announce { held: count(held), durable: count(durable) }
                }
            },
        ),
        Ask::Open(rebuild) => {
            let Rebuild { epoch, server, total, revision, returned, nodes, waits } = &**rebuild;
            let mut incarnations = [None; N];
            for (node, incarnation) in nodes {
                incarnations[usize::from(node.number())] = Some(count(*incarnation));
            }
            let call = Call::Rebuild {
                server: server.run.parse().unwrap(),
                total: count(*total),
                revision: count(*revision),
                returned: count(*returned),
                incarnations,
                waits: *waits,
            };
            (Caller { node: 0, incarnation: 0, epoch: count(*epoch) }, call)
        }
        _ => return None,
    })
}

/// What a machine wants its share to be.
pub fn share(ask: &Ask) -> Option<Share> {
    match *ask {
        Ask::Share { incarnation, turn, units } => {
            Some(Share { life: count(incarnation), turn: count(turn), granted: count(units) })
        }
        _ => None,
    }
}

/// The server's answer to a call of node `n`, as the machine hears it.
pub fn reply<const N: usize>(server: &Server<N>, verdict: Verdict, n: usize) -> BookReply {
    let (mine, epoch, available, leased, awaited) =
        server.book.as_ref().map_or((Default::default(), 0, 0, 0, 0), |book| {
            let leased = book.accounts.iter().map(|of| account(of).leased()).sum();
            (book.accounts[n], book.epoch, book.available(), leased, book.awaited() as u64)
        });
    BookReply {
        verdict: same(verdict),
        server: server_id(server.id),
        epoch: epoch.into(),
        incarnation: mine.incarnation.into(),
        granted: mine.granted.into(),
        handed_back: mine.handed_back.into(),
        settled: mine.settled.into(),
        available: available.into(),
        leased,
        awaited,
        starving: 0,
    }
}

pub fn account(model: &crate::book::Account) -> NodeAccount {
    NodeAccount {
        incarnation: model.incarnation.into(),
        granted: model.granted.into(),
        handed_back: model.handed_back.into(),
        settled: model.settled.into(),
        awaited: model.awaited,
    }
}

/// The book as a machine reads it.
pub fn read<const N: usize>(book: &Book<N>, is_valid: bool) -> lease::Book {
    lease::Book {
        lost: !is_valid,
        server: server_id(book.server),
        epoch: book.epoch.into(),
        total: book.total.into(),
        revision: book.revision.into(),
        returned: book.returned.into(),
        accounts: book.accounts.iter().enumerate().map(|(n, of)| (node(n), account(of))).collect(),
    }
}

/// The store's count as a machine reads it.
pub fn units(store: &Store, total: Count) -> SaleUnits {
    let Store { epoch, returned, durable, .. } = *store;
    let share = |(n, share): (usize, Share)| domain::Share {
        node: node(n),
        life: share.life.into(),
        granted: share.granted.into(),
    };
    SaleUnits {
        epoch: epoch.into(),
        total: total.into(),
        revision: 1,
        sold: u64::from(durable.iter().sum::<Count>() - returned),
        returned: returned.into(),
        settled: durable.iter().enumerate().map(|(n, units)| (node(n), (*units).into())).collect(),
        shares: store.share.into_iter().enumerate().map(share).collect(),
    }
}
