//! `POST /api/v1/config/reload`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, ReloadRefused};
use super::problem::Problem;

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
