//! Traces, where a collector is configured, and what the writers tell.

use std::sync::Arc;
use std::time::SystemTime;

use crate::domain::NodeId;
use crate::exit::Failure;
use crate::orders::{Commit, WriterWatch};
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;
use crate::traces::{CommitSpan, TraceSettings, Tracer};

/// Starts to send spans. `None` where nobody takes them.
pub(super) fn start(
    supervisor: &Supervisor,
    settings: &TraceSettings,
    node: NodeId,
    telemetry: &Arc<Telemetry>,
) -> Result<Option<Tracer>, Failure> {
    let tracing = Tracer::new(settings, node.number(), telemetry).map_err(Failure::at_start("traces"))?;
    Ok(tracing.map(|(tracer, exporter)| {
        supervisor.task("traces", async move {
            exporter.run().await;
            Ok(())
        });
        tracer
    }))
}

/// Where the writers tell of their commits.
pub(super) fn watch(telemetry: &Arc<Telemetry>, tracer: Option<&Tracer>) -> Arc<dyn WriterWatch> {
    let telemetry = Arc::clone(telemetry);
    match tracer {
        None => telemetry,
        Some(tracer) => Arc::new(Traced { telemetry, tracer: tracer.clone() }),
    }
}

/// What the writers tell goes into the telemetry.
impl WriterWatch for Telemetry {
    fn committed(&self, commit: Commit<'_>) {
        let Commit { orders, steps, took, .. } = commit;
        self.writers.record_batch(orders + steps, took.as_nanos() as u64);
    }

    fn stalled(&self) {
        self.writers.failed_batches.increment();
    }
}

/// And into traces, where somebody takes them.
struct Traced {
    telemetry: Arc<Telemetry>,
    tracer: Tracer,
}

impl WriterWatch for Traced {
    fn committed(&self, commit: Commit<'_>) {
        self.telemetry.committed(commit);
        let Commit { orders, steps, took, spans } = commit;
        if !spans.is_empty() {
            let (ended, members) = (SystemTime::now(), spans.to_vec());
            self.tracer.committed(CommitSpan { orders, steps, ended, took, members });
        }
    }

    fn stalled(&self) {
        self.telemetry.stalled();
    }
}
