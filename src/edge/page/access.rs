//! Which sales have a page, and who may buy there.

use super::super::request::Head;
use crate::domain::BuyerName;

/// Which sales have a page, and whether whoever opens one may buy as a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageAccess {
    /// The sales.
    pub sales: PagedSales,
    /// Whether a cookie of the page names a buyer where nobody else does.
    pub guests: bool,
}

/// Sales that have a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PagedSales {
    /// None has.
    #[default]
    None,
    /// This one.
    One {
        /// Its campaign.
        campaign: &'static str,
        /// Its SKU.
        sku: &'static str,
    },
    /// All have.
    All,
}

/// How the name of every guest begins.
const GUEST: &str = "guest-";
/// Hexadecimal digits behind it: 128 bits, which nobody guesses.
const DIGITS: usize = 32;

impl PageAccess {
    /// Whether the sale has a page.
    pub fn serves(&self, campaign: &str, sku: &str) -> bool {
        match self.sales {
            PagedSales::None => false,
            PagedSales::One { campaign: its, sku: of } => (campaign, sku) == (its, of),
            PagedSales::All => true,
        }
    }

    /// The guest whose browser asks, if guests may buy.
    pub(in super::super) fn guest<'a>(&self, head: &Head<'a>) -> Option<BuyerName<'a>> {
        let name = std::str::from_utf8(head.guest_cookie().filter(|_| self.guests)?).ok()?;
        let digits = name.strip_prefix(GUEST)?;
        let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        BuyerName::new(name).ok().filter(|_| is_ours)
    }

    /// The cookie that makes whoever asks a guest, where that is needed: its name and its value.
    pub(super) fn new_guest(&self, head: &Head<'_>) -> Option<String> {
        let is_named = head.user.is_some() || head.authorization.is_some() || self.guest(head).is_some();
        (self.guests && !is_named).then(|| {
            let name: u128 = rand::random();
            format!("sale_guest={GUEST}{name:032x}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESTS: PageAccess = PageAccess { sales: PagedSales::All, guests: true };

    fn head(cookie: &str) -> Head<'_> {
        Head::read([("cookie", cookie.as_bytes())].into_iter())
    }

    #[test]
    fn a_guest_is_who_has_the_pages_cookie_and_nobody_else() {
        let pair = GUESTS.new_guest(&Head::default()).unwrap();
        let guest = GUESTS.guest(&head(&pair)).expect("a guest").as_str().to_owned();
        assert_eq!(pair, format!("sale_guest={guest}"));
        assert_eq!(GUESTS.new_guest(&head(&pair)), None, "one stays who one is");
        assert_ne!(GUESTS.new_guest(&Head::default()).unwrap(), pair);
        let with_others = format!("a=b; {pair}; sale_pass=x");
        assert_eq!(GUESTS.guest(&head(&with_others)).map(|name| name.as_str().to_owned()), Some(guest));
        for wrong in
            ["", "sale_guest=ann", "sale_guest=guest-", "sale_guest=guest-0123", "xsale_guest=guest-1"]
        {
            assert!(GUESTS.guest(&head(wrong)).is_none(), "{wrong}");
        }
        let longer = format!("{pair}0");
        assert!(GUESTS.guest(&head(&longer)).is_none());
        assert!(PageAccess { guests: false, ..GUESTS }.guest(&head(&pair)).is_none());
        assert_eq!(GUESTS.new_guest(&Head { user: Some(b"ann"), ..Head::default() }), None);
    }

    #[test]
    fn a_page_is_there_where_it_was_asked_for() {
        let one = PageAccess { sales: PagedSales::One { campaign: "demo", sku: "widget" }, guests: true };
        assert!(one.serves("demo", "widget") && !one.serves("demo", "phone") && !one.serves("x", "widget"));
        assert!(GUESTS.serves("demo", "phone") && !PageAccess::default().serves("demo", "widget"));
    }
}
