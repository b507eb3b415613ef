//! What the engine tells of itself: latencies and counts by core, their text formats, and the log.
//!
//! The hot path records through a [`Recorder`] and pays for it with two atomic additions: no lock, no allocation.
//! Everything else happens when somebody asks: [`Telemetry`] adds up the cores, [`Exposition`] writes Prometheus'
//! formats, [`percentile_file`] and [`IntervalLog`] write HdrHistogram's two formats.

mod counter;
mod edge_load;
mod exposition;
mod gatekeeper;
mod grpc;
mod hgrm;
mod histogram;
mod http2;
mod interval_log;
mod lease_agent;
mod logs;
mod native_histogram;
mod outcome;
mod process;
mod prometheus;
mod protobuf;
mod recorder;
mod refused_tokens;
mod seldom;
mod settings;
mod store_log;
mod tls;
mod traces;

pub use counter::{Counter, Gauge, GaugeGuard};
pub use edge_load::{Dear, EdgeLoad, thread_times};
pub use exposition::{Exposition, Kind, TEXT_CONTENT_TYPE};
pub use gatekeeper::GatekeeperRecords;
pub use grpc::{GrpcCall, GrpcMethod, GrpcRecords};
pub use hgrm::percentile_file;
pub use histogram::{AtomicHistogram, HistogramSnapshot, Layout, SIGNIFICANT_DIGITS};
pub use http2::{Http2End, Http2Records};
pub use interval_log::{IntervalLog, Recent};
pub use lease_agent::{DriftKinds, LeaseAgentRecords};
pub use logs::{LogControl, LogFlush, LogFormat, LogSettings, dropped_log_lines};
pub use outcome::{Outcome, Path};
pub use process::ProcessUsage;
pub use protobuf::PROTOBUF_CONTENT_TYPE;
pub use recorder::{Recorder, Telemetry, WriterRecords};
pub use refused_tokens::{RefusedTokens, TokenFault};
pub use seldom::Seldom;
pub use settings::TelemetrySettings;
pub use store_log::StoreLogRecords;
pub use tls::TlsRecords;
pub use traces::TraceRecords;
