//! The buyer's page of a sale, `/seckill/{campaign}/{sku}/page`: countdown, waiting room, purchase and payment for who has
//! nothing but a browser; and a client of the engine to read and to copy from.
//!
//! It is built on the API alone. Whoever runs scripts asks the routes of the API from there (`client.js`; `page.js` shows what
//! came of it). Whoever runs none sends forms, and each form is the API's own request in other clothes: it goes the same way
//! ([`handlers`]), and what is answered is shown as words (`words.toml`). So nothing is decided here, and no rule stands in
//! two places.
//!
//! The page itself is the same for everybody, so that a cache answers the crowd that opens it; what is one buyer's stands on
//! `…/page/mine` and is kept by nobody.

mod access;
mod assets;
mod form;
mod handlers;
mod html;
mod time;
mod view;
mod words;

pub use access::{PageAccess, PagedSales};
