//! Repairs what a bug has spoilt: reads the records of the last hour again without
//! disturbing anybody, and then sends the group back to where it went wrong.
//!
//!     cargo run --example replay

use std::time::{Duration, SystemTime};

use anyhow::Context;
use spillway::{Client, ErrorKind, Position, Retention, TuningChange};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::connect().await?; // $SPILLWAY_ADDRESS, or localhost:7420
    let admin = client.admin();
    // Retention by limits keeps what was settled, so that it can be read again.
    let kept = TuningChange::new()
        .retention(Retention::Limits)
        .retention_age(Duration::from_secs(24 * 3600));
    match admin.create_queue("payments", kept).await {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e.into()),
        _ => {}
    }
    let producer = client.producer("payments").open().await?;
    let mut acks = Vec::new();
    for i in 0..5 {
        acks.push(producer.send(format!("payment {i}")).await?);
    }
    for ack in acks {
        ack.await?;
    }

    let mut replay = client
        .replay("payments")
        .from_time(SystemTime::now() - Duration::from_secs(3600))
        .until_tail()
        .rate(1_000)
        .open()
        .await?;
    let mut wrong = None;
    while let Some(record) = replay.try_next().await? {
        if record.payload.ends_with(b"3") {
            wrong.get_or_insert(record.offset);
        }
    }
    let wrong = wrong.context("no bad payment")?;
    println!("the first bad payment is at offset {wrong}");

    // The group is made here, if it is new.
    let mut consumer = client.consumer("payments", "ledger").open().await?;
    admin
        .seek("payments", "ledger", Position::Offset(wrong))
        .await?;
    while let Some(delivery) = consumer.try_next().await? {
        if delivery.offset() < wrong {
            // Delivered before the group was moved: its settlement has no effect any more.
            delivery.ack()?;
            continue;
        }
        let payment = String::from_utf8_lossy(delivery.payload()).into_owned();
        println!("again: offset {}, {payment}", delivery.offset());
        delivery.ack()?;
        if payment.ends_with('4') {
            break;
        }
    }
    consumer.close().await?;
    producer.close().await?;
    Ok(())
}
