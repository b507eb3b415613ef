//! The calls of the service, each as the edge knows it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::asking::{Asked, Asker, Envelope};
use super::events::{EventFeed, EventStream, StillShown, Term, Wanted};
use super::proto::seckill_server::Seckill;
use super::proto::{
    CheckoutRequest, CheckoutResponse, FollowEventsRequest, GetOrderRequest, GetOrderResponse,
    GetSaleRequest, GetSaleResponse, PurchaseRequest, PurchaseResponse,
};
use super::{status, told};
use crate::admin::{ControlPlane, NotShown};
use crate::clock::Clock;
use crate::domain::{InvalidId, SaleKey};
use crate::edge::{Field, Reply, RequestId, Route, problem};
use crate::telemetry::{GrpcCall, GrpcMethod, GrpcRecords};

/// What calls are answered with.
pub(super) struct Calls {
    pub asker: Asker,
    pub feed: EventFeed,
    pub viewers: Arc<ControlPlane>,
    pub clock: Clock,
    pub records: Arc<GrpcRecords>,
    /// Where callers come in.
    pub address: SocketAddr,
    /// Places for calls.
    pub places: Arc<Semaphore>,
    /// Places for followers.
    pub followers: Arc<Semaphore>,
}

impl Calls {
    /// What comes of a call, counted, if there is a place for it.
    async fn counted<T>(
        &self,
        method: GrpcMethod,
        call: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<Response<T>, Status> {
        let mut counted = self.records.begin(method);
        let answer = match self.places.try_acquire() {
            Ok(_place) => call.await,
            Err(_) => Err(busy("As many calls are under way as grpc.calls_max allows.")),
        };
        counted.end(answer.as_ref().err().map_or(0, |status| status.code() as usize));
        answer.map(Response::new)
    }

    async fn ask_of_order(
        &self,
        envelope: &Envelope,
        id: &str,
        (method, end, body): (&'static str, &str, &[u8]),
    ) -> Result<Reply, Status> {
        let route = if end.is_empty() { Route::Order { id } } else { Route::Checkout { id } };
        let path = format!("/orders/{id}{end}");
        let asked = Asked { route, method, path: &path, body, idempotency_key: "", sale_pass: "" };
        self.asker.ask(envelope, asked).await
    }

    async fn buy(&self, call: Request<PurchaseRequest>) -> Result<PurchaseResponse, Status> {
        let (envelope, wanted) = Envelope::open(call)?;
        let PurchaseRequest { campaign, sku, quantity, idempotency_key, sale_pass } = &wanted;
        let body = quantity.map(|units| format!("{{\"quantity\":{units}}}")).unwrap_or_default();
        let asked = Asked {
            route: Route::Purchase { campaign, sku },
            method: "POST",
            path: &format!("/seckill/{campaign}/{sku}"),
            body: body.as_bytes(),
            idempotency_key,
            sale_pass,
        };
        told::purchase(&self.asker.ask(&envelope, asked).await?)
    }

    async fn look(&self, call: Request<GetOrderRequest>) -> Result<GetOrderResponse, Status> {
        let (envelope, wanted) = Envelope::open(call)?;
        told::order(&self.ask_of_order(&envelope, &wanted.order_id, ("GET", "", b"")).await?)
    }

    async fn pay(&self, call: Request<CheckoutRequest>) -> Result<CheckoutResponse, Status> {
        let (envelope, CheckoutRequest { order_id, payment_method }) = Envelope::open(call)?;
        let body = serde_json::json!({ "payment_method": payment_method }).to_string();
        let asked = ("POST", "/checkout", body.as_bytes());
        told::checkout(&self.ask_of_order(&envelope, &order_id, asked).await?)
    }

    async fn sale(&self, call: Request<GetSaleRequest>) -> Result<GetSaleResponse, Status> {
        let (envelope, GetSaleRequest { campaign, sku }) = Envelope::open(call)?;
        let asked = Asked {
            route: Route::SaleState { campaign: &campaign, sku: &sku },
            method: "GET",
            path: &format!("/seckill/{campaign}/{sku}"),
            body: b"",
            idempotency_key: "",
            sale_pass: "",
        };
        told::sale(&self.asker.ask(&envelope, asked).await?)
    }

    fn follow(
        &self,
        call: Request<FollowEventsRequest>,
        counted: GrpcCall,
    ) -> Result<EventStream, (GrpcCall, Status)> {
        let follow = || -> Result<_, Status> {
            let (envelope, FollowEventsRequest { after, campaign, sku }) = Envelope::open(call)?;
            let now = self.clock.stopwatch();
            envelope.check(now)?;
            let (tenant, still_shown) = self.tenant(&envelope)?;
            for name in [&campaign, &sku].into_iter().filter(|name| !name.is_empty()) {
                check_name(name, &envelope.id())?;
            }
            let place = Arc::clone(&self.followers).try_acquire_owned();
            let place = place.map_err(|_| busy("As many follow events as grpc.followers_max allows."))?;
            let term = Term { still_shown, left: envelope.arrival.left(now) };
            Ok((Wanted { tenant, campaign, sku }, term, after, place))
        };
        match follow() {
            Ok((wanted, term, after, place)) => Ok(self.feed.follow(wanted, term, after, counted, place)),
            Err(status) => Err((counted, status)),
        }
    }

    /// Whose events the caller is shown, now and as long as it is so: by the tokens of the admin plane.
    fn tenant(&self, envelope: &Envelope) -> Result<(String, StillShown), Status> {
        let id = envelope.id();
        let named = envelope.headers.get("x-tenant-id").map(|name| name.to_str().unwrap_or_default());
        if let Some(name) = named {
            check_name(name, &id)?;
        }
        let token = envelope.headers.get(http::header::AUTHORIZATION).map(|value| value.as_bytes());
        let token = token.and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
        });
        let is_local = self.address.ip().is_loopback();
        let from = (envelope.arrival.peer, is_local);
        let shown = self.viewers.shown_tenant(token, named, from, id.as_str());
        let tenant = shown.map_err(|why| {
            status::refused(
                match why {
                    NotShown::WrongToken => problem::NO_TOKEN.detailed(
                        "Events are for operators: authorization must be Bearer and one of the tokens of the admin plane.",
                    ),
                    NotShown::TooManyWrongTokens => problem::RATE_LIMITED
                        .detailed("There were many wrong tokens from this address.")
                        .with(Field::RetryAfter(60)),
                    NotShown::ForeignTenant => problem::TENANT_NOT_ALLOWED.answer(),
                },
                &id,
            )
        })?;
        let (viewers, of) = (Arc::clone(&self.viewers), tenant.clone());
        let token = token.map(<[u8]>::to_vec);
        let still_shown: StillShown =
            Box::new(move || viewers.is_still_shown(&of, token.as_deref(), is_local));
        Ok((tenant, still_shown))
    }
}

#[tonic::async_trait]
impl Seckill for Calls {
    async fn purchase(&self, call: Request<PurchaseRequest>) -> Result<Response<PurchaseResponse>, Status> {
        self.counted(GrpcMethod::Purchase, self.buy(call)).await
    }

    async fn get_order(&self, call: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        self.counted(GrpcMethod::GetOrder, self.look(call)).await
    }

    async fn checkout(&self, call: Request<CheckoutRequest>) -> Result<Response<CheckoutResponse>, Status> {
        self.counted(GrpcMethod::Checkout, self.pay(call)).await
    }

    async fn get_sale(&self, call: Request<GetSaleRequest>) -> Result<Response<GetSaleResponse>, Status> {
        self.counted(GrpcMethod::GetSale, self.sale(call)).await
    }

    type FollowEventsStream = EventStream;

    async fn follow_events(
        &self,
        call: Request<FollowEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        match self.follow(call, self.records.begin(GrpcMethod::FollowEvents)) {
            Ok(stream) => Ok(Response::new(stream)),
            Err((mut counted, status)) => {
                counted.end(status.code() as usize);
                Err(status)
            }
        }
    }
}

fn check_name(name: &str, id: &RequestId<'_>) -> Result<(), Status> {
    SaleKey::check_part(name).map_err(|InvalidId(rule)| {
        let detail = format!("{name:?} is no name of a tenant, campaign or SKU: it {rule}.");
        status::refused(problem::BAD_REQUEST.detailed(&detail), id)
    })
}

/// As many are here as may be.
fn busy(detail: &str) -> Status {
    let answer = problem::OVERLOADED.detailed(detail).with(Field::RetryAfter(1));
    status::refused(answer, &RequestId::of(None))
}
