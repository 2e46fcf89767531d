//! Asks a service over one queue and gets the answer over another: the request names a
//! correlation id in its headers, and the reply repeats it.
//!
//!     cargo run --example request_reply

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use spillway::{Client, Durability, ErrorKind, Message, TuningChange};
use tokio::time::timeout;

const ID: &str = "correlation-id";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::connect().await?; // $SPILLWAY_ADDRESS, or localhost:7420
    for queue in ["requests", "replies"] {
        // Memory is enough: a lost request is asked again.
        let light = TuningChange::new().durability(Durability::Memory);
        match client.admin().create_queue(queue, light).await {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e.into()),
            _ => {}
        }
    }
    let question = timeout(Duration::from_secs(30), ask(&client, "how are you?"));
    let answer = tokio::select! {
        answer = question => answer??,
        served = serve(&client) => anyhow::bail!("the service ended: {served:?}"),
    };
    println!("{answer}");
    Ok(())
}

/// Answers requests in capitals.
async fn serve(client: &Client) -> anyhow::Result<()> {
    let replies = client.producer("replies").open().await?;
    let mut requests = client.consumer("requests", "service").open().await?;
    requests
        .run(|request| {
            let replies = replies.clone();
            async move {
                let mut reply = Message::new(request.payload().to_ascii_uppercase());
                if let Some(id) = request.header(ID) {
                    reply = reply.header(ID, id.clone());
                }
                replies.publish(reply).await?;
                Ok(())
            }
        })
        .await?;
    Ok(())
}

/// Waits for the reply to one request. The reader begins at the tail before the request is
/// sent, so it cannot miss the reply, and needs no group.
async fn ask(client: &Client, question: &str) -> anyhow::Result<String> {
    let mut replies = client.replay("replies").latest().open().await?;
    let requests = client.producer("requests").open().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let id = format!("{}-{now}", requests.producer_id());
    let request = Message::new(question.to_owned()).header(ID, id.clone());
    requests.publish(request).await?;
    while let Some(reply) = replies.try_next().await? {
        if reply.headers.iter().any(|h| h.name == ID && h.value == id) {
            return Ok(String::from_utf8_lossy(&reply.payload).into_owned());
        }
    }
    None.context("no reply")
}
