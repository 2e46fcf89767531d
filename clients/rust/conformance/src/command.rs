//! The lines of the suite; see tests/conformance/README.md.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{json, Map, Value};
use spillway::{Error, Message, Position, ReplayBuilder, TuningChange};

/// One command; each uses some of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Command {
    pub id: Value,
    pub cmd: String,
    pub timeout_ms: u64,
    pub address: String,
    pub queue: String,
    pub group: String,
    #[serde(rename = "as")]
    pub name: String,
    pub on: String,
    pub mode: String,
    pub action: String,
    pub reason: String,
    pub revision: u64,
    pub tuning: Map<String, Value>,
    pub producer_id: String,
    pub linger_ms: u64,
    pub wait: Option<bool>,
    pub count: u64,
    pub size: Option<usize>,
    pub seed: u64,
    pub keys: Vec<String>,
    pub start: Option<Start>,
    pub stop: Option<Stop>,
    pub max_in_flight: u64,
    pub max_in_flight_bytes: u64,
    pub idle_ms: u64,
    pub offsets: Vec<(u64, u64)>,
    pub delay_ms: u64,
    pub rate: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Start {
    offset: Option<u64>,
    time_unix_ms: Option<u64>,
    earliest: bool,
    last: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stop {
    offset: Option<u64>,
    time_unix_ms: Option<u64>,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    Client(Error),
    /// The command's own time is over.
    Timeout,
    /// A stream ended as it should.
    End,
    /// The command makes no sense.
    Driver(String),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Client(e)
    }
}

impl Failure {
    pub fn describe(&self) -> Value {
        let e = match self {
            Failure::Client(e) => e,
            Failure::Timeout => return json!({"kind": "TIMEOUT", "message": "the time is over"}),
            Failure::End => return json!({"kind": "END", "message": "the end"}),
            Failure::Driver(m) => return json!({"kind": "INTERNAL", "message": m}),
        };
        let mut out = Map::new();
        out.insert("kind".into(), e.kind().name().into());
        out.insert("message".into(), e.message().into());
        for (name, text) in [("queue", e.queue()), ("field", e.field())] {
            if !text.is_empty() {
                out.insert(name.into(), text.into());
            }
        }
        let retry_after = e.retry_after().unwrap_or_default().as_millis() as u64;
        let numbers = [
            ("limit", e.limit()),
            ("actual", e.actual()),
            ("retry_after_ms", retry_after),
            ("head_offset", e.head_offset()),
            ("tail_offset", e.tail_offset()),
        ];
        for (name, number) in numbers {
            if number != 0 {
                out.insert(name.into(), number.into());
            }
        }
        Value::Object(out)
    }
}

impl Command {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(match self.timeout_ms {
            0 => 10_000,
            ms => ms,
        })
    }

    pub fn position(&self) -> Position {
        let Some(s) = &self.start else {
            return Position::Earliest;
        };
        match (s.earliest, s.offset, s.time_unix_ms, s.last) {
            (true, ..) => Position::Earliest,
            (_, Some(offset), ..) => Position::Offset(offset),
            (_, _, Some(ms), _) => Position::Time(UNIX_EPOCH + Duration::from_millis(ms)),
            (_, _, _, Some(n)) => Position::Last(n),
            _ => Position::Latest,
        }
    }

    pub fn until(&self, replay: ReplayBuilder) -> ReplayBuilder {
        let Some(s) = &self.stop else {
            return replay;
        };
        match (s.offset, s.time_unix_ms) {
            (Some(offset), _) => replay.until_offset(offset),
            (_, Some(ms)) => replay.until_time(UNIX_EPOCH + Duration::from_millis(ms)),
            _ => replay.until_tail(),
        }
    }

    pub fn tuning(&self) -> Result<TuningChange, Failure> {
        let mut t = TuningChange::new();
        for (name, value) in &self.tuning {
            let bad = || Failure::Driver(format!("tuning.{name}: not {value}"));
            let number = || value.as_u64().ok_or_else(bad);
            let time = || Ok::<_, Failure>(Duration::from_millis(number()?));
            let word = || value.as_str().ok_or_else(bad);
            t = match name.as_str() {
                "window_messages" => t.window_messages(number()?),
                "window_bytes" => t.window_bytes(number()?),
                "max_message_bytes" => t.max_message_bytes(number()?),
                "durability" => t.durability(word()?.parse()?),
                "overflow" => t.overflow(word()?.parse()?),
                "disk_quota_bytes" => t.disk_quota_bytes(number()?),
                "retention" => t.retention(word()?.parse()?),
                "retention_age_ms" => t.retention_age(time()?),
                "retention_bytes" => t.retention_bytes(number()?),
                "ack_deadline_ms" => t.ack_deadline(time()?),
                "max_attempts" => t.max_attempts(number()?.try_into().map_err(|_| bad())?),
                "backoff_initial_ms" => t.backoff_initial(time()?),
                "backoff_max_ms" => t.backoff_max(time()?),
                "max_in_flight_messages" => t.max_in_flight_messages(number()?),
                "max_in_flight_bytes" => t.max_in_flight_bytes(number()?),
                _ => return Err(Failure::Driver(format!("no tunable {name}"))),
            };
        }
        Ok(t)
    }

    /// Record i of the command: the README says what its payload is made of.
    pub fn record(&self, i: u64) -> Message {
        let size = self.size.unwrap_or(100);
        let first = (self.seed << 32).wrapping_add(i << 16);
        let mut payload = Vec::with_capacity(size + 8);
        let mut j = 0;
        while payload.len() < size {
            payload.extend_from_slice(&mix(first.wrapping_add(j)).to_le_bytes());
            j += 1;
        }
        payload.truncate(size);
        let message = Message::new(payload);
        if self.keys.is_empty() {
            return message;
        }
        message.key(self.keys[i as usize % self.keys.len()].clone())
    }
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A record as the suite sees it; the hash is FNV-1a.
pub fn show(offset: u64, attempt: u32, key: &[u8], payload: &[u8]) -> Value {
    let hash = payload.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
        (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    json!({
        "offset": offset,
        "attempt": attempt,
        "key": String::from_utf8_lossy(key),
        "size": payload.len(),
        "fnv": format!("{hash:016x}"),
    })
}
