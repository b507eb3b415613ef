//! Makes `proto/generated` of the `.proto` files: the code that the engine is built with, and the description that it serves
//! by reflection. The tests compare that description with what another compiler makes of the same files.

use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let generated = proto.join("generated");
    let files = protox::compile([proto.join("seckill/v1/seckill.proto")], [&proto])?;
    fs::write(generated.join("seckill.v1.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().build_client(false).out_dir(&generated).compile_fds(files)?;
    Ok(())
}
