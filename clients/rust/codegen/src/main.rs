//! Regenerates `src/pb` from `proto/spillway/v1`. Needs protoc; users of the client don't.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = std::env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&here).join("../../..");
    let protos = root.join("proto");
    let out = root.join("clients/rust/src/pb");
    let files: Vec<_> = ["admin", "broker", "credit", "error", "queue", "record"]
        .iter()
        .map(|name| protos.join(format!("spillway/v1/{name}.proto")))
        .collect();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .server_mod_attribute(".", "#[cfg(feature = \"testing\")]")
        .emit_rerun_if_changed(false)
        .out_dir(&out)
        .compile_protos(&files, &[protos])?;
    Ok(())
}
