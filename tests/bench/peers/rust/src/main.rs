//! Loads Spillway by its Rust client, as `tests/bench/peers` does by Go clients: the same
//! windows, counts and times. It prints lines of JSON: `begin` and `end` of what is measured,
//! so that the caller can read between them what all processes cost; `done` once every
//! message was accounted for, or `error`.

mod loads;
mod options;
mod payload;
mod progress;
mod say;

use std::process::ExitCode;

use options::Options;

async fn run(o: &Options) -> Result<Vec<u32>, String> {
    match o.workload.as_str() {
        "publish" => loads::publish(o).await?,
        "e2e" => loads::end_to_end(o).await?,
        "single" => loads::single(o).await?,
        "latency" => return loads::latency(o).await,
        "drain" => loads::drain(o).await?,
        "replay" => loads::replay(o).await?,
        other => return Err(format!("no workload {other:?}")),
    }
    Ok(Vec::new())
}

fn main() -> ExitCode {
    let all = || {
        let options = Options::parse(std::env::args().skip(1))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        runtime.block_on(run(&options))
    };
    match all() {
        Ok(latencies) => {
            say::done(&latencies);
            ExitCode::SUCCESS
        }
        Err(why) => {
            say::error(&why);
            ExitCode::FAILURE
        }
    }
}
