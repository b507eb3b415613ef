//! The bundled load test. Its own issue builds it; this crate holds its place in the workspace.

fn main() {
    eprintln!("loadtest: not built yet");
    std::process::exit(2);
}
