//! What an answer over HTTP is called over gRPC.
//!
//! A problem keeps its code: it is the reason of an `ErrorInfo` (google.rpc) in capitals, `sold-out` as `SOLD_OUT`,
//! whose metadata are the problem's members; `Retry-After` is a `RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::edge::problem::RPC_CODES;
use crate::edge::{Field, ProblemAnswer, Reply, RequestId, RpcCode};

/// Whose reasons they are.
const DOMAIN: &str = "seckill";
/// Members of a problem that are told otherwise: by the status itself, or that are HTTP's.
const NO_METADATA: [&str; 4] = ["type", "title", "status", "detail"];

/// The status of an answer that refuses.
pub(super) fn of(reply: &Reply) -> Status {
    let problem: Map<String, Value> = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let known = RPC_CODES.iter().find(|(code, _)| *code == text("code"));
    let code = known.map_or(Code::Unknown, |&(_, rpc)| code_of(rpc));
    let members = problem.iter().filter(|(name, _)| !NO_METADATA.contains(&name.as_str()));
    let members = members.map(|(name, value)| (name.clone(), plain(value))).collect();
    told(code, text("code"), text("detail"), members, retry_after(reply))
}

/// The status of this plane's own refusals.
pub(super) fn refused(answer: ProblemAnswer, id: &RequestId<'_>) -> Status {
    of(&answer.reply(id))
}

/// A status with its reason, a code as problems have them.
pub(super) fn told(
    code: Code,
    reason: &str,
    message: &str,
    mut members: HashMap<String, String>,
    retry_after: Option<Duration>,
) -> Status {
    members.insert("code".into(), reason.into());
    let mut details = ErrorDetails::with_error_info(in_capitals(reason), DOMAIN, members);
    if let Some(wait) = retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code, message, details)
}

/// The caller does not wait any more, or would not wait until there is something to tell.
pub(super) fn too_late() -> Status {
    let message = "The deadline has passed. What was begun before goes on: look at the order.";
    Status::deadline_exceeded(message)
}

/// When to come back, if an answer says so.
pub(super) fn retry_after(reply: &Reply) -> Option<Duration> {
    reply.fields.iter().find_map(|field| match field {
        Field::RetryAfter(seconds) => Some(Duration::from_secs((*seconds).into())),
        _ => None,
    })
}

const fn code_of(rpc: RpcCode) -> Code {
    match rpc {
        RpcCode::InvalidArgument => Code::InvalidArgument,
        RpcCode::DeadlineExceeded => Code::DeadlineExceeded,
        RpcCode::NotFound => Code::NotFound,
        RpcCode::AlreadyExists => Code::AlreadyExists,
        RpcCode::PermissionDenied => Code::PermissionDenied,
        RpcCode::ResourceExhausted => Code::ResourceExhausted,
        RpcCode::FailedPrecondition => Code::FailedPrecondition,
        RpcCode::Aborted => Code::Aborted,
        RpcCode::Unimplemented => Code::Unimplemented,
        RpcCode::Unavailable => Code::Unavailable,
        RpcCode::Unauthenticated => Code::Unauthenticated,
    }
}

/// A reason in the form that `ErrorInfo` asks for.
fn in_capitals(code: &str) -> String {
    code.replace('-', "_").to_ascii_uppercase()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Nanos;
    use crate::edge::problem;

    const PAGE: &str = include_str!("GRPC.md");

    #[test]
    fn a_refusal_keeps_its_code_its_members_and_its_cure() {
        let answer = problem::QUANTITY_NOT_ALLOWED.answer().number("per_buyer_limit", 2);
        let status = refused(answer.with(Field::RetryAfter(7)), &RequestId::Echoed("r1"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "The quantity must be 1 to per_buyer_limit.");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("QUANTITY_NOT_ALLOWED", "seckill"));
        let members = [("code", "quantity-not-allowed"), ("instance", "r1"), ("per_buyer_limit", "2")]
            .map(|(n, v)| (n.into(), v.into()));
        assert_eq!(info.metadata, HashMap::from(members));
        let wait = details.retry_info().unwrap().retry_delay;
        assert_eq!(wait, Some(Duration::from_nanos(7 * Nanos::SECOND.0)));
    }

    #[test]
    fn every_problem_stands_on_the_page_with_its_status() {
        let mut rows: Vec<_> =
            RPC_CODES.iter().map(|(code, rpc)| format!("| `{code}` | `{}` |", rpc.name())).collect();
        rows.dedup();
        let told: Vec<_> =
            PAGE.lines().filter(|line| line.starts_with("| `") && line.matches('`').count() == 4).collect();
        assert_eq!(told, rows, "src/grpc/GRPC.md lists the problems in their order");
        // Each name is the code's own.
        for (code, rpc) in RPC_CODES {
            let given = format!("{:?}", code_of(*rpc));
            assert_eq!(given.to_ascii_uppercase(), rpc.name().replace('_', ""), "{code}");
        }
    }
}
