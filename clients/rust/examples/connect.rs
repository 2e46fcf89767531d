//! Joins two services by a queue: one publishes orders, the other bills them.
//!
//!     cargo run --example connect -- bill     (until interrupted)
//!     cargo run --example connect

use spillway::{Client, ErrorKind, Message, Nack, TuningChange};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // $SPILLWAY_ADDRESS, or localhost:7420.
    let client = Client::connect().await?;
    let created = client
        .admin()
        .create_queue("orders", TuningChange::new())
        .await;
    match created {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e.into()),
        _ => {}
    }
    match std::env::args().nth(1).as_deref() {
        Some("bill") => bill(&client).await,
        _ => order(&client).await,
    }
}

/// Publishes ten orders. `publish` waits for credit, so a slow biller slows it down instead
/// of filling anyone's memory.
async fn order(client: &Client) -> anyhow::Result<()> {
    let producer = client.producer("orders").open().await?;
    for i in 0..10 {
        let order = Message::new(format!("order {i}")).key(format!("customer-{}", i % 3));
        let offset = producer.publish(order).await?;
        println!("kept at offset {offset}");
    }
    producer.close().await?;
    Ok(())
}

/// Handles orders until it is interrupted. An error gives the order back, to be tried again
/// later by whichever biller has room.
async fn bill(client: &Client) -> anyhow::Result<()> {
    let mut consumer = client
        .consumer("orders", "billing")
        .concurrency(4)
        .open()
        .await?;
    let interrupted = tokio::signal::ctrl_c();
    consumer
        .run_until(interrupted, |d| async move {
            let order = std::str::from_utf8(d.payload()).map_err(|e| Nack::park(e.to_string()))?;
            let customer = String::from_utf8_lossy(d.key());
            let (offset, attempt) = (d.offset(), d.attempt());
            println!("offset {offset}, attempt {attempt}: {order} for {customer}");
            Ok(())
        })
        .await?;
    consumer.close().await?;
    Ok(())
}
