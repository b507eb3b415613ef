//! HTTP as the tester speaks it: prepared requests out, an incremental parser in.

pub mod buyer;
pub mod call;
pub mod http2;
pub mod request;
pub mod response;
pub mod tls;
