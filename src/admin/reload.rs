//! `POST /api/v1/config/reload`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::{ControlPlane, ReloadRefused};
use super::problem::{Code, Problem};
use crate::orders::ActKind;

pub(super) async fn reload(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
) -> Result<Json<Value>, Problem> {
    let reload = Arc::clone(&plane.reload);
    let outcome = tokio::task::spawn_blocking(move || reload()).await.map_err(|_| {
        Problem::new(Code::Internal, "The reload was cut short; the old configuration stays.")
    })?;
    match outcome {
        Ok(changed) => {
            let mut act = acting.act(&plane, ActKind::ConfigReloaded, "config".into(), None);
            act.tenant = None;
            act.to = json!({ "changed": changed });
            // It is in force whether or not the store answers.
            if let Err(error) = plane.desk.tell(act).await {
                tracing::error!(%error, "the trail does not tell that the configuration was reloaded");
            }
            Ok(Json(json!({ "status": "reloaded", "changed": changed })))
        }
        Err(ReloadRefused { needs_restart, detail, keys }) => {
            let code = if needs_restart { Code::RestartRequired } else { Code::InvalidConfig };
            Err(Problem::new(code, detail).with("keys", keys))
        }
    }
}
