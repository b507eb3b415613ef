//! What concerns the whole engine.

use serde_json::{Map, Value, json};

use super::campaign_bodies::{StopChange, Stopped};
use super::figure_bodies::Reloaded;
use super::parts::{act, look, tenant};
use crate::admin::problem_code::Code;
use crate::admin::profiles::{HERTZ_MAX, SECONDS_MAX};
use crate::openapi::{Access, Answer, Content, Operation, Parameter};

const TAG: &str = "engine";

/// `GET /api/v1/stop`
pub fn stopped() -> Operation {
    look("/api/v1/stop", "getStopped", "Whether the tenant's sales stand still")
        .tag(TAG)
        .takes([tenant()])
        .answers(Answer::json::<Stopped>(200, "What stands still"))
}

fn switch(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    act(path, id, summary)
        .tag(TAG)
        .takes([tenant()])
        .body::<StopChange>()
        .answers(Answer::json::<Stopped>(200, "What stands still now"))
        .refuses([Code::UnknownTenant, Code::OlderEngines])
}

/// `POST /api/v1/stop`
pub fn stop() -> Operation {
    switch("/api/v1/stop", "stopSales", "Stop all sales of the tenant, or of all tenants, at once")
        .about("Who holds an order can pay it all the same.")
}

/// `POST /api/v1/go`
pub fn go() -> Operation {
    switch("/api/v1/go", "resumeSales", "Let them go on")
        .about("A sale that is paused by itself stays so, and a tenant's stop outlives that of all.")
}

/// `POST /api/v1/config/reload`
pub fn reload() -> Operation {
    act("/api/v1/config/reload", "reloadConfig", "Read the configuration again")
        .access(Access::AdminOfAll)
        .about("As SIGHUP does. What needs a restart is refused by name, and then nothing has changed.")
        .tag(TAG)
        .takes([tenant()])
        .answers(Answer::json::<Reloaded>(200, "It is in force."))
        .refuses([Code::InvalidConfig, Code::RestartRequired, Code::Internal])
}

/// `GET /api/v1/profiles/cpu`
pub fn cpu_profile() -> Operation {
    let number = |max: u16| json!({ "type": "integer", "minimum": 1, "maximum": max });
    look("/api/v1/profiles/cpu", "getCpuProfile", "Where processor time goes, from now on for some seconds")
        .access(Access::AdminOfAll)
        .about("A file for pprof's tools: `go tool pprof`, speedscope and others. One at a time; the trail tells of it.")
        .tag(TAG)
        .takes([
            tenant(),
            Parameter::query("seconds", "For how long; 10 if it is not said.").of(number(SECONDS_MAX)),
            Parameter::query("hertz", "Samples a second of processor time; 99 if it is not said.")
                .of(number(HERTZ_MAX)),
        ])
        .answers(
            Answer::new(200, "The profile", Content::text("application/octet-stream"))
                .with("Content-Disposition"),
        )
        .refuses([Code::InvalidField, Code::ProfileUnderWay, Code::Internal])
}

/// `GET /api/v1/allocator`
pub fn allocator() -> Operation {
    look("/api/v1/allocator", "getAllocator", "What the allocator holds, as it tells it")
        .access(Access::AdminOfAll)
        .about("The statistics of mimalloc, with its own names: they change with its version.")
        .tag(TAG)
        .takes([tenant()])
        .answers(Answer::json::<Map<String, Value>>(200, "The statistics"))
        .refuses([Code::Internal])
}
