//! Passes bytes on between clients and the broker, and can lose what one of the sides says
//! before it cuts all connections.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Broker,
}

struct State {
    deaf: Option<Side>,
    lost: usize,
    cut: watch::Sender<()>,
}

pub struct Proxy {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub async fn start(to: &str) -> Proxy {
        let to = to.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(Mutex::new(State {
            deaf: None,
            lost: 0,
            cut: watch::channel(()).0,
        }));
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect(&to).await.unwrap();
                let ((from, back), (answers, forth)) = (client.into_split(), broker.into_split());
                let cut = || shared.lock().unwrap().cut.subscribe();
                let (one, other) = (cut(), cut());
                tokio::spawn(pass(shared.clone(), one, Side::Client, from, forth));
                tokio::spawn(pass(shared.clone(), other, Side::Broker, answers, back));
            }
        });
        Proxy { address, state }
    }

    /// Drops what a side says from now on.
    pub fn lose(&self, side: Side) {
        let mut state = self.state.lock().unwrap();
        (state.deaf, state.lost) = (Some(side), 0);
    }

    /// How many bytes were lost.
    pub fn lost(&self) -> usize {
        self.state.lock().unwrap().lost
    }

    /// Ends all connections; later ones pass everything.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut.send_replace(());
        state.deaf = None;
    }
}

async fn pass(
    state: Arc<Mutex<State>>,
    mut cut: watch::Receiver<()>,
    side: Side,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = tokio::select! {
            n = from.read(&mut buffer) => n.unwrap_or(0),
            _ = cut.changed() => 0,
        };
        if n == 0 {
            return;
        }
        let deaf = {
            let mut state = state.lock().unwrap();
            let deaf = state.deaf == Some(side);
            state.lost += if deaf { n } else { 0 };
            deaf
        };
        if !deaf && to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
