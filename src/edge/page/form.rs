//! What a form of the page asks for.

use std::borrow::Cow;

use crate::domain::OrderId;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A place in the waiting room.
    Register,
    /// A purchase.
    Buy,
    /// To pay the order.
    Pay(OrderId),
    /// To give the order up.
    Cancel(OrderId),
}

/// A form as it was sent.
#[derive(Debug)]
pub(super) struct Form<'a> {
    pub act: Act,
    /// The name of the attempt, made with the form: sent twice, it buys once.
    pub key: Option<Cow<'a, str>>,
    /// How the order is to be paid.
    pub method: Option<Cow<'a, str>>,
    /// What the anti-bot service gave the page.
    pub gate_token: Option<Cow<'a, str>>,
}

impl<'a> Form<'a> {
    /// Reads a form; `None` when it is none of the page's.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (mut act, mut order, mut key, mut method, mut gate_token) = (None, None, None, None, None);
        for (name, value) in form_urlencoded::parse(body) {
            let slot = match &*name {
                "act" => &mut act,
                "order" => &mut order,
                "key" => &mut key,
                "method" => &mut method,
                "gate_token" => &mut gate_token,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let order = || order.as_deref().and_then(|id: &str| id.parse().ok());
        let act = match act.as_deref()? {
            "register" => Act::Register,
            "buy" => Act::Buy,
            "pay" => Act::Pay(order()?),
            "cancel" => Act::Cancel(order()?),
            _ => return None,
        };
        Some(Self { act, key, method, gate_token })
    }
}

/// What the address of the buyer's own page asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// This order.
    pub order: Option<OrderId>,
    /// That the order was accepted and not certain yet: not every node knows it.
    pub pending: bool,
    /// That the page does not renew itself.
    pub still: bool,
}

impl Wanted {
    /// Reads the query. What is no number of an order names none.
    pub fn parse(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "order" => wanted.order = value.parse().ok(),
                "pending" => wanted.pending = true,
                "still" => wanted.still = true,
                _ => {}
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NodeId;

    #[test]
    fn a_form_says_what_is_to_be_done() {
        let id = OrderId::from_tick(7, NodeId::new(0).unwrap());
        let act = |body: &str| Form::parse(body.as_bytes()).map(|form| form.act);
        assert_eq!(act("act=register"), Some(Act::Register));
        assert_eq!(act("act=buy&key=abc"), Some(Act::Buy));
        assert_eq!(act(&format!("act=pay&order={id}&method=card")), Some(Act::Pay(id)));
        assert_eq!(act(&format!("order={id}&act=cancel&other=1")), Some(Act::Cancel(id)));
        for wrong in ["", "act=sell", "act=pay", "act=cancel&order=../x", "act=buy&act=register", "key=1"] {
            assert_eq!(act(wrong), None, "{wrong}");
        }
        let form = Form::parse(b"act=buy&key=a%20b").unwrap();
        assert_eq!(form.key.as_deref(), Some("a b"));
        let plain = Wanted { order: Some(id), ..Wanted::default() };
        assert_eq!(Wanted::parse(&format!("order={id}&still")), Wanted { still: true, ..plain });
        assert_eq!(Wanted::parse(&format!("order={id}&pending")), Wanted { pending: true, ..plain });
        assert_eq!(Wanted::parse("order=x&y"), Wanted::default());
    }
}
