//! The servers that are compared: started on core 0, on the loopback interface, and ended when dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testbed::client::request;
use testbed::servers::engine::EngineProcess;
use testbed::servers::process::{free_address, kill, listens, spawn};

use super::comparison::{Figures, figures};
use super::{WORK_FOLDER, binary};
use crate::{Failure, anew};

/// Which of the engine's servers reads the sockets.
#[derive(Clone, Copy)]
pub enum FrontEnd {
    /// `edge.front_end = "hyper"`.
    Hyper,
    /// `edge.front_end = "may"`.
    May,
}

/// A running server, with what it needs.
pub struct Server {
    /// Its address.
    pub target: SocketAddr,
    engine: Option<EngineProcess>,
    processes: Vec<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(kill);
    }
}

/// A command on core 0.
fn on_server_core(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]).stdin(Stdio::null());
    command
}

/// An empty folder of this name.
fn fresh_folder(name: &str) -> Result<PathBuf, Failure> {
    let folder = PathBuf::from(WORK_FOLDER).join(name);
    anew::folder(&folder)?;
    Ok(folder)
}

impl Server {
    /// The floor, which answers with the bytes in file `reply`.
    pub fn floor(reply: &str) -> Result<Self, Failure> {
        let target = free_address();
        let mut command = on_server_core(&binary("floor"));
        command.args(["--listen", &target.to_string(), "--reply", reply]);
        Ok(Self { target, engine: None, processes: vec![listening(command, target)?] })
    }

    /// The engine's library alone, which answers with the bytes in file `reply`.
    pub fn bare(reply: &str, is_http2: bool) -> Result<Self, Failure> {
        let target = free_address();
        let mut command = on_server_core(&binary("bare"));
        command.args(["--listen", &target.to_string(), "--reply", reply]);
        command.args(is_http2.then_some("--http2"));
        Ok(Self { target, engine: None, processes: vec![listening(command, target)?] })
    }

    /// nginx, or another program that takes its settings from a file of its own, with this text as its answer. In the file
    /// stand PORT, FOLDER and BODY.
    pub fn fixed(program: &str, template: &str, text: &str) -> Result<Self, Failure> {
        let target = free_address();
        let folder = fs::canonicalize(fresh_folder(&format!("fixed-{program}"))?)?;
        let config = fs::read_to_string(template)?
            .replace("PORT", &target.port().to_string())
            .replace("FOLDER", &folder.to_string_lossy())
            .replace("BODY", text);
        fs::write(folder.join("answer.json"), text)?;
        let file = folder.join("peer.conf");
        fs::write(&file, config)?;
        let mut command = on_server_core(program);
        command.current_dir(&folder).arg("-c").arg(&file);
        if program == "nginx" {
            command.arg("-p").arg(&folder);
        }
        Ok(Self { target, engine: None, processes: vec![listening(command, target)?] })
    }

    /// The engine with one serving thread and one sale, `demo/widget`. `name` names its folder.
    pub fn engine(name: &str, front_end: FrontEnd, stock: u32) -> Result<Self, Failure> {
        Self::engine_with(name, front_end, stock, &[])
    }

    /// The same with more keys, each an environment variable without the prefix.
    pub fn engine_with(
        name: &str,
        front_end: FrontEnd,
        stock: u32,
        keys: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let folder = fresh_folder(&format!("engine-{name}"))?;
        let front_end = match front_end {
            FrontEnd::Hyper => "hyper",
            FrontEnd::May => "may",
        };
        let mut command = on_server_core(&binary("seckill"));
        command.arg("serve").env("SECKILL__EDGE__FRONT_END", front_end).env("SECKILL__EDGE__THREADS", "1");
        command.envs(keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value)));
        let free = ([127, 0, 0, 1], 0).into();
        let engine = EngineProcess::start(command, &folder, free, free);
        // The engine opens the sale by itself in an empty store: it is given the stock that this run needs.
        let body = format!("{{\"stock\":{stock}}}");
        let json = "Content-Type: application/json\r\n";
        let changed = request(engine.admin(), "PATCH", "/api/v1/campaigns/demo/widget", json, &body);
        match changed.status {
            200 => Ok(Self { target: engine.edge(), engine: Some(engine), processes: Vec::new() }),
            status => Err(format!("the engine answered {status} to a change of the stock").into()),
        }
    }

    /// nginx with the purchase in Lua.
    pub fn nginx(stock: u32) -> Result<Self, Failure> {
        let target = free_address();
        let folder = fs::canonicalize(fresh_folder("nginx")?)?;
        let template = fs::read_to_string("perf/peers/nginx/nginx.conf")?;
        let config =
            template.replace("STOCK", &stock.to_string()).replace("PORT", &target.port().to_string());
        fs::write(folder.join("nginx.conf"), config)?;
        let mut command = on_server_core("nginx");
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf"]);
        Ok(Self { target, engine: None, processes: vec![listening(command, target)?] })
    }

    /// The Gin service and its Redis, both on core 0.
    pub fn gin(stock: u32) -> Result<Self, Failure> {
        let (target, redis) = (free_address(), free_address());
        let folder = fs::canonicalize(fresh_folder("gin")?)?;
        let program = folder.join("gin-peer");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir("perf/peers/gin")
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .status()?;
        if !built.success() {
            let packages = "golang-go golang-github-gin-gonic-gin-dev golang-github-gomodule-redigo-dev";
            return Err(format!("the Gin peer does not build: apt-get install {packages}").into());
        }
        let mut ledger = on_server_core("redis-server");
        ledger.args(["--port", &redis.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        ledger.args(["--appendonly", "no", "--dir"]).arg(&folder);
        let mut server = Self { target, engine: None, processes: vec![listening(ledger, redis)?] };
        let mut gin = on_server_core(&program.to_string_lossy());
        gin.args(["-listen", &target.to_string(), "-redis", &redis.to_string()])
            .args(["-stock", &stock.to_string()])
            .env("GOMAXPROCS", "1");
        server.processes.push(listening(gin, target)?);
        Ok(server)
    }

    /// Where operators ask the engine.
    ///
    /// # Panics
    /// It is another server.
    pub fn admin(&self) -> SocketAddr {
        self.engine.as_ref().expect("it is an engine").admin()
    }

    /// The process ids, for the client.
    pub fn pids(&self) -> String {
        let engine = self.engine.as_ref().map(EngineProcess::pid);
        let pids = engine.into_iter().chain(self.processes.iter().map(Child::id));
        pids.map(|pid| pid.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Runs the client against this server.
    pub fn client(&self, args: &[&str]) -> Result<Figures, Failure> {
        self.client_of("client", args)
    }

    /// Runs this client of `perf` against this server.
    pub fn client_of(&self, client: &str, args: &[&str]) -> Result<Figures, Failure> {
        let target = self.target.to_string();
        figures(Command::new("taskset").args(["-c", "1", &binary(client), "--target", &target]).args(args))
    }
}

/// A process that says nothing, once it takes connections.
fn listening(mut command: Command, address: SocketAddr) -> Result<Child, Failure> {
    let mut process = spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    if listens(&mut process, address) {
        return Ok(process);
    }
    kill(&mut process);
    Err(format!("nobody listens on {address}: {command:?}").into())
}
