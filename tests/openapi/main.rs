//! The documents that the planes serve, held against what the engine answers: by requests that are written here, and
//! by a property-based tester from outside.

mod admin_plane;
mod data_plane;
mod documents;
mod grpc;
mod grpc_call;
mod grpc_connections;
mod grpc_deadlines;
mod grpc_followers;
mod python;
mod schemathesis;
