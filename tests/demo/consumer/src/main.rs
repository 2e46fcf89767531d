//! Takes the demo's records and writes each to a ledger before it acknowledges it. At times
//! it is slower than they come: then the queue fills its window, spills, and in the end makes
//! the producer wait.
//!
//! ```text
//! spillway-demo-consumer ADDRESS QUEUE GROUP LEDGER COUNT
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use anyhow::{bail, Context};
use spillway::Client;

// Of every period it is slow for the last part.
const PERIOD: Duration = Duration::from_secs(10);
const FAST_FOR: Duration = Duration::from_secs(6);
const SLOW_PAUSE: Duration = Duration::from_millis(4);

fn slow(since: Instant) -> bool {
    since.elapsed().as_millis() % PERIOD.as_millis() >= FAST_FOR.as_millis()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, queue, group, ledger, count] = args.as_slice() else {
        bail!("usage: spillway-demo-consumer ADDRESS QUEUE GROUP LEDGER COUNT");
    };
    let count: usize = count.parse().context("COUNT")?;

    let client = Client::builder(address).connect().await?;
    let mut consumer = client
        .consumer(queue, group)
        .max_in_flight(200)
        .open()
        .await?;
    let mut out = BufWriter::new(File::create(ledger).context("LEDGER")?);
    let mut seen = HashSet::with_capacity(count);
    let begin = Instant::now();
    while seen.len() < count {
        let Some(delivery) = consumer.try_next().await? else {
            bail!("the deliveries ended after {} records", seen.len());
        };
        write!(out, "{}\t", delivery.offset())?;
        out.write_all(delivery.payload())?;
        out.write_all(b"\n")?;
        seen.insert(delivery.offset());
        if slow(begin) {
            tokio::time::sleep(SLOW_PAUSE).await; // the work of a slow consumer
        }
        delivery.ack()?;
    }
    out.flush()?;
    consumer.close().await?;
    Ok(())
}
