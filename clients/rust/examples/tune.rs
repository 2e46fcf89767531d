//! Changes a queue's window while it runs, and shows why a producer waits.
//!
//!     cargo run --example tune

use std::time::Duration;

use spillway::{Client, ErrorKind, Event, OverflowPolicy, TuningChange};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::builder("") // $SPILLWAY_ADDRESS, or localhost:7420
        .on_event(|stream, event| match event {
            Event::Blocked(b) => {
                // Without a reason while the first grant is on its way.
                let reason = b.reason.map_or("CREDIT", |r| r.name());
                println!("{} waits: {reason}", stream.queue);
            }
            Event::Unblocked { waited } => println!("{} waited {waited:?}", stream.queue),
            _ => {}
        })
        .connect()
        .await?;
    let admin = client.admin();
    let small = TuningChange::new()
        .window_messages(10)
        .overflow(OverflowPolicy::Block);
    let queue = match admin.create_queue("tuned", small.clone()).await {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            admin.update_queue("tuned", None, small).await?
        }
        created => created?,
    };
    let producer = client.producer("tuned").open().await?;
    // Dropped while it waits for credit, a publish sends nothing.
    while let Ok(published) = timeout(Duration::from_millis(200), producer.publish("x")).await {
        published?;
    }
    // Nobody consumes, and the window is full.
    for s in admin.explain("tuned").await?.stalls {
        let (subject, reason, ends_when) = (s.subject, s.reason, s.ends_when);
        println!("{subject}: {reason} for {:?}; ends when {ends_when}", s.age);
    }
    // A larger window, unless somebody else has changed the queue since.
    let wide = TuningChange::new().window_messages(queue.stats.depth_messages + 100);
    admin
        .update_queue("tuned", Some(queue.revision), wide)
        .await?;
    let offset = producer.publish("x").await?;
    println!("there is room again: kept at offset {offset}");
    producer.close().await?;
    Ok(())
}
