//! Who answers requests: one after another in the same piece of memory, so that only one that has to wait costs more.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::Application;
use super::super::exchange::{Coming, Exchange};
use super::super::reply::Reply;
use super::super::reply_header::Names;
use super::request_head::RequestHead;

/// A request that was answered.
pub struct Answered {
    pub request: Box<RequestHead>,
    pub reply: Reply,
    pub names: Names,
}

/// Answers one request at a time.
pub struct Worker<'a> {
    desk: Rc<Desk>,
    work: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Where requests are laid down for a worker, and answers taken up.
#[derive(Default)]
struct Desk {
    request: Cell<Option<Box<RequestHead>>>,
    answered: Cell<Option<Answered>>,
}

impl<'a> Worker<'a> {
    /// Answers with this exchange. `names_clients`: the connection is a trusted proxy's.
    pub fn new<A: Application>(exchange: &'a Exchange<A>, names_clients: bool) -> Self {
        let desk = Rc::new(Desk::default());
        let work = Box::pin(work(exchange, Rc::clone(&desk), names_clients));
        Self { desk, work }
    }

    /// Has a request answered; the answer is there at once, or comes from [`Worker::poll`].
    pub fn ask(&mut self, request: Box<RequestHead>, context: &mut Context<'_>) -> Poll<Answered> {
        self.desk.request.set(Some(request));
        self.poll(context)
    }

    /// The answer to what was asked, when it is there.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answered> {
        let _ = self.work.as_mut().poll(context);
        self.desk.answered.take().map_or(Poll::Pending, Poll::Ready)
    }
}

async fn work<A: Application>(exchange: &Exchange<A>, desk: Rc<Desk>, names_clients: bool) {
    loop {
        let request = poll_fn(|_| desk.request.take().map_or(Poll::Pending, Poll::Ready)).await;
        let (reply, names) = {
            let asked = exchange.asked(request.method(), || request.fields(), names_clients);
            let body = Coming {
                is_here: !request.body.is_open(),
                bytes_min: request.length().unwrap_or(0),
                whole: request.body.whole(),
            };
            exchange.reply_to_stream(asked, request.target(), body).await
        };
        desk.answered.set(Some(Answered { request, reply, names }));
    }
}

/// A worker whose request has to wait, until it is answered.
pub struct Busy<'a>(Option<Worker<'a>>);

impl<'a> Busy<'a> {
    /// Nothing else is asked of the worker meanwhile.
    pub fn new(worker: Worker<'a>) -> Self {
        Self(Some(worker))
    }
}

impl<'a> Future for Busy<'a> {
    type Output = (Worker<'a>, Answered);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(worker) = &mut self.0 else { return Poll::Pending };
        let Poll::Ready(answered) = worker.poll(context) else { return Poll::Pending };
        match self.0.take() {
            Some(worker) => Poll::Ready((worker, answered)),
            None => Poll::Pending,
        }
    }
}
