//! `POST /api/v1/config/reload`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ControlPlane;
use super::problem::Problem;

/// Why the configuration was not reloaded; the old one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused {
    /// `invalid-config` or `restart-required`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// The keys that are to blame.
    pub keys: Vec<String>,
}

/// Reads the configuration again and applies it: answers with the keys that changed, and logs them or why there are
/// none. May block on a file.
pub type Reload = dyn Fn() -> Result<Vec<String>, ReloadRefused> + Send + Sync;

pub(super) async fn reload(State(plane): State<Arc<ControlPlane>>) -> Result<Json<Value>, Problem> {
    let reload = Arc::clone(&plane.reload);
    let outcome = tokio::task::spawn_blocking(move || reload()).await.map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The reload was cut short; the old configuration stays.",
        )
    })?;
    match outcome {
        Ok(changed) => Ok(Json(json!({ "status": "reloaded", "changed": changed }))),
        Err(ReloadRefused { code, detail, keys }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with("keys", keys))
        }
    }
}
