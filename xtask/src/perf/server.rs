//! The servers that are compared: started on core 0, on the loopback interface, and ended when dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::comparison::{Figures, figures};
use super::{Failure, WORK_FOLDER, binary};

const START_WAIT: Duration = Duration::from_secs(20);

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
    pub target: String,
    processes: Vec<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A command on core 0 that says nothing.
fn on_server_core(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn free_address() -> Result<String, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// An empty folder of this name.
fn fresh_folder(name: &str) -> Result<String, Failure> {
    let folder = format!("{WORK_FOLDER}/{name}");
    if fs::exists(&folder)? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

impl Server {
    /// The floor, which answers with the bytes in file `reply`.
    pub fn floor(reply: &str) -> Result<Self, Failure> {
        let target = free_address()?;
        let child = on_server_core(&binary("floor")).args(["--listen", &target, "--reply", reply]).spawn()?;
        Self::answering(target, vec![child])
    }

    /// The engine with one serving thread and one sale, `demo/widget`. `name` names its folder.
    pub fn engine(name: &str, front_end: FrontEnd, stock: u32) -> Result<Self, Failure> {
        let (target, admin) = (free_address()?, free_address()?);
        let data = fresh_folder(&format!("engine-{name}"))?;
        let front_end = match front_end {
            FrontEnd::Hyper => "hyper",
            FrontEnd::May => "may",
        };
        let child = on_server_core(&binary("seckill"))
            .args(["serve", "--edge-listen", &target, "--admin-listen", &admin, "--data-dir", &data])
            .env("SECKILL__EDGE__FRONT_END", front_end)
            .env("SECKILL__EDGE__THREADS", "1")
            .spawn()?;
        let engine = Self::answering(target, vec![child])?;
        let started = Instant::now();
        while call(&admin, "GET", "/readyz", "")? != 200 {
            if started.elapsed() > START_WAIT {
                return Err("the engine is not ready".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // The engine opens the sale by itself in an empty store: it is given the stock that this run needs.
        let body = format!("{{\"stock\":{stock}}}");
        match call(&admin, "PATCH", "/api/v1/campaigns/demo/widget", &body)? {
            200 => Ok(engine),
            status => Err(format!("the engine answered {status} to a change of the stock").into()),
        }
    }

    /// nginx with the purchase in Lua.
    pub fn nginx(stock: u32) -> Result<Self, Failure> {
        let target = free_address()?;
        let folder = fs::canonicalize(fresh_folder("nginx")?)?;
        let port = target.rsplit(':').next().unwrap_or_default();
        let template = fs::read_to_string("perf/peers/nginx/nginx.conf")?;
        let config = template.replace("STOCK", &stock.to_string()).replace("PORT", port);
        fs::write(folder.join("nginx.conf"), config)?;
        let child = on_server_core("nginx").arg("-p").arg(&folder).args(["-c", "nginx.conf"]).spawn()?;
        Self::answering(target, vec![child])
    }

    /// The Gin service and its Redis, both on core 0.
    pub fn gin(stock: u32) -> Result<Self, Failure> {
        let (target, redis) = (free_address()?, free_address()?);
        let folder = fresh_folder("gin")?;
        let program = fs::canonicalize(&folder)?.join("gin-peer");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir("perf/peers/gin")
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .status()?;
        if !built.success() {
            return Err(
                "the Gin peer does not build: apt-get install golang-go golang-github-gin-gonic-gin-dev \
                        golang-github-gomodule-redigo-dev"
                    .into(),
            );
        }
        let port = redis.rsplit(':').next().unwrap_or_default().to_owned();
        let redis_server = on_server_core("redis-server")
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                &folder,
            ])
            .spawn()?;
        let mut server = Self::answering(redis.clone(), vec![redis_server])?;
        let gin = on_server_core(&program.to_string_lossy())
            .args(["-listen", &target, "-redis", &redis, "-stock", &stock.to_string()])
            .env("GOMAXPROCS", "1")
            .spawn()?;
        server.processes.push(gin);
        server.target = target;
        server.wait()?;
        Ok(server)
    }

    fn answering(target: String, processes: Vec<Child>) -> Result<Self, Failure> {
        let server = Self { target, processes };
        server.wait()?;
        Ok(server)
    }

    /// Waits until the address takes connections.
    fn wait(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while TcpStream::connect(&self.target).is_err() {
            if started.elapsed() > START_WAIT {
                return Err(format!("nobody listens on {}", self.target).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The process ids, for the client.
    pub fn pids(&self) -> String {
        let pids: Vec<String> = self.processes.iter().map(|process| process.id().to_string()).collect();
        pids.join(",")
    }

    /// Runs the client against this server.
    pub fn client(&self, args: &[&str]) -> Result<Figures, Failure> {
        figures(
            Command::new("taskset").args(["-c", "1", &binary("client"), "--target", &self.target]).args(args),
        )
    }
}

/// The status of one HTTP call.
fn call(address: &str, method: &str, path: &str, body: &str) -> Result<u16, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_WAIT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.get(9..12).unwrap_or_default().parse()?)
}
