//! The life of an order as a diagram and in words, made of the transition table.

use std::fmt::Write;

use crate::domain::{OrderAction, OrderStatus};
use crate::orders::EventKind;

/// Where the page is, from the project's folder.
pub(super) const fn page_path() -> &'static str {
    "src/domain/ORDER_STATES.md"
}

/// What an order in this status is.
pub const fn meaning(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "admitted and not durable yet; it holds its units",
        OrderStatus::PrePay => "durable, waits to be paid until `pay_before`",
        OrderStatus::Paying => "a payment is under way, or its outcome is not known yet",
        OrderStatus::Paid => "paid; a part of it may have been given back (`refunded_cents`)",
        OrderStatus::Cancelled => "given up, its units are back on sale; final",
        OrderStatus::Expired => "not paid in time, its units are back on sale; final",
        OrderStatus::Rejected => "admitted, but refused by the order store; it holds no units; final",
        OrderStatus::Refunding => "paid, and a refund is under way or its outcome is not known yet",
        OrderStatus::Refunded => "all that was paid was given back; final",
    }
}

/// What happens, as an arrow of the diagram says it.
const fn happens(action: OrderAction) -> &'static str {
    match action {
        OrderAction::Persist => "durable",
        OrderAction::Reject => "refused by the store",
        OrderAction::BeginPayment => "a payment begins",
        OrderAction::NotePayment => "the payment goes on",
        OrderAction::AbortPayment => "declined, or never made",
        OrderAction::ConfirmPayment => "the money is taken",
        OrderAction::Cancel => "given up",
        OrderAction::Expire => "the time is over",
        OrderAction::BeginRefund => "a refund begins",
        OrderAction::AbortRefund => "refused, never made, or a part is given back",
        OrderAction::ConfirmRefund => "all is given back",
        OrderAction::RecordRefund => "given back by hand",
    }
}

/// The transition table as a Mermaid diagram: each arrow says what happens, and which event tells of it.
pub fn diagram() -> String {
    let mut diagram = "stateDiagram-v2\n    [*] --> pending: admitted\n".to_owned();
    for from in OrderStatus::ALL {
        let arrows =
            OrderAction::ALL.into_iter().filter_map(|action| Some((action, from.after(action).ok()?)));
        let mut goes_on = false;
        for (action, to) in arrows {
            goes_on = true;
            let event = EventKind::of(action).map_or(String::new(), |kind| format!(" ({})", kind.as_str()));
            let _ = writeln!(diagram, "    {from} --> {to}: {}{event}", happens(action));
        }
        if !goes_on {
            let _ = writeln!(diagram, "    {from} --> [*]");
        }
    }
    diagram
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../domain/ORDER_STATES.md");

    /// What the page has to say of the states; whoever changes the table copies it from the failure.
    fn told() -> String {
        let mut told = format!("```mermaid\n{}```\n\n| status | means |\n|---|---|\n", diagram());
        for status in OrderStatus::ALL {
            let _ = writeln!(told, "| `{status}` | {} |", meaning(status));
        }
        told
    }

    #[test]
    fn the_page_draws_the_table() {
        let told = told();
        assert!(PAGE.contains(&told), "src/domain/ORDER_STATES.md has to hold this:\n\n{told}");
    }
}
