//! HTTP as the tester speaks it: prepared requests out, an incremental parser in; HTTP/2 is a library.

pub mod buyer;
pub mod call;
pub mod request;
pub mod response;
pub mod tls;
