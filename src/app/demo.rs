//! The sale that an engine opens when its store has none, so that the first minute already sells something.

use crate::config::Settings;
use crate::domain::{Cents, Currency, EpochMs, SaleKey, SaleTerms};
use crate::edge::{PageAccess, PagedSales};
use crate::ledger::{NewSale, SaleDesk, SaleError};

const CAMPAIGN: &str = "demo";
const SKU: &str = "widget";
const UNITS: u32 = 100;

/// Opens `demo/widget`: 100 units, one a buyer; unless another engine on the same store has just done so.
pub async fn open(desk: &SaleDesk, now: EpochMs) -> Result<(), SaleError> {
    let sale = NewSale {
        key: SaleKey::new(SaleKey::DEFAULT_TENANT, CAMPAIGN, SKU).expect("the demo's names keep their rules"),
        terms: SaleTerms {
            title: "Demo widget".into(),
            price: Cents(1_999),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: now,
            ends_at: SaleTerms::NO_END,
            pay_within_s: 900,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        },
        stock: UNITS,
    };
    match desk.create(sale, None).await {
        Ok(_) | Err(SaleError::Exists) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Which sales have a page: all or none, as the settings say; and where they say nothing and nobody else can be, the demo's.
pub fn page(settings: &Settings) -> PageAccess {
    let sales = match settings.edge.page {
        Some(true) => PagedSales::All,
        None if settings.is_demonstration() => PagedSales::One { campaign: CAMPAIGN, sku: SKU },
        Some(false) | None => PagedSales::None,
    };
    PageAccess { sales, guests: sales != PagedSales::None && settings.takes_guests() }
}

/// The page of the demo sale, and the lines that buy, look up and pay for one, ready to be pasted.
pub fn invitation(edge: &str, has_page: bool) -> String {
    let page = if has_page {
        format!("In a browser: {edge}/seckill/{CAMPAIGN}/{SKU}/page\n\n")
    } else {
        String::new()
    };
    format!(
        "\n\
         {page}{UNITS} units of {CAMPAIGN}/{SKU} are on sale, one a buyer. Buy one, look at the order, pay for it:\n\
         \n\
         ORDER=$(curl -s -X POST -H 'X-User-ID: ann' {edge}/seckill/{CAMPAIGN}/{SKU} | tee /dev/stderr | sed 's/.*\"order_id\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -s -H 'X-User-ID: ann' {edge}/orders/$ORDER\n\
         curl -s -X POST -H 'X-User-ID: ann' -d '{{\"payment_method\":\"card\"}}' {edge}/orders/$ORDER/checkout\n"
    )
}
