//! Whether the waiting room of a sale kept its order: every order is somebody's who registered and was admitted.

use std::collections::HashMap;

use ring::digest;

use super::{Check, EXAMPLES_MAX};
use crate::admin::{Admin, AdminError, ExportedQueue, ExportedRegistration, SKU};

/// When somebody joined, and the place in the draw of who takes part.
type Places = HashMap<String, (jiff::Timestamp, Option<u64>)>;

/// Reads the log of registrations, the marks and the orders of a campaign.
pub(super) fn check(admin: &mut Admin, campaign: &str) -> Result<Check, AdminError> {
    let mut buyers = Vec::new();
    admin.export(campaign, |order| {
        buyers.push(order.buyer);
        Ok::<(), AdminError>(())
    })?;
    let mut places = Places::new();
    let mut unreadable = 0;
    admin.registrations(campaign, |line| match line.joined_at.parse() {
        Ok(joined_at) => note(&mut places, line, joined_at),
        Err(_) => unreadable += 1,
    })?;
    // Marks only rise: who was admitted by an order's time still is.
    let queue = admin.queue(campaign)?;
    let fifo_mark = queue.fifo_mark.as_deref().and_then(|mark| mark.parse().ok());
    let wrong: Vec<&String> =
        buyers.iter().filter(|buyer| !is_admitted(buyer, campaign, &queue, fifo_mark, &places)).collect();
    let (violations, examples) = (wrong.len() as u64 + unreadable, &wrong[..wrong.len().min(EXAMPLES_MAX)]);
    let detail = if violations == 0 {
        format!("{} registered; each of {} orders is somebody's who was admitted", places.len(), buyers.len())
    } else {
        format!(
            "orders of buyers who were not admitted: {examples:?}; {unreadable} lines of the log cannot be read"
        )
    };
    Ok(Check { name: "admitted-in-order".into(), passed: violations == 0, judged: true, violations, detail })
}

/// The first registration counts.
fn note(places: &mut Places, line: ExportedRegistration, joined_at: jiff::Timestamp) {
    let place = places.entry(line.who).or_insert((joined_at, line.priority));
    if joined_at < place.0 {
        *place = (joined_at, line.priority);
    }
}

fn is_admitted(
    buyer: &str,
    campaign: &str,
    queue: &ExportedQueue,
    fifo_mark: Option<jiff::Timestamp>,
    places: &Places,
) -> bool {
    let name = [queue.tenant.as_str(), campaign, SKU, buyer].join("\0");
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let who: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    places.get(&who).is_some_and(|(joined_at, priority)| {
        fifo_mark.is_some_and(|mark| *joined_at < mark) || priority.is_some_and(|own| own < queue.draw_mark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_admitted_may_have_an_order() {
        let queue = ExportedQueue { tenant: "default".into(), draw_mark: 100, fifo_mark: None };
        let who = |buyer: &str| {
            let name = format!("default\0c\0{SKU}\0{buyer}");
            let hash = digest::digest(&digest::SHA256, name.as_bytes());
            hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let at = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
        let mut places = Places::new();
        for (buyer, joined_ms, priority) in
            [("b1", 5, Some(99)), ("b2", 5, Some(100)), ("b3", 9, None), ("b3", 7, None)]
        {
            let line = ExportedRegistration {
                mark: String::new(),
                who: who(buyer),
                joined_at: String::new(),
                priority,
            };
            note(&mut places, line, at(joined_ms));
        }
        let admitted = |buyer, mark| is_admitted(buyer, "c", &queue, mark, &places);
        assert!(
            admitted("b1", None) && !admitted("b2", None) && !admitted("b3", None) && !admitted("b4", None)
        );
        assert!(admitted("b3", Some(at(8))) && !admitted("b3", Some(at(7))));
    }
}
