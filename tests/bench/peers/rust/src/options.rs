//! The command line, the same as that of the C++ programs.

use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub address: String,
    pub topic: String,
    pub workload: String,
    /// Bytes of a payload.
    pub size: usize,
    /// Messages that may be unacknowledged.
    pub window: u64,
    /// Messages that the sender may be ahead of the reader.
    pub lead: u64,
    /// Messages that are there, of replay and drain.
    pub count: u64,
    pub warmup: Duration,
    pub seconds: Duration,
    /// Messages per second, of latency.
    pub rate: f64,
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name}: what is {text:?}?"))
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(name, text)?).map_err(|e| format!("{name}: {e}"))
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut o = Options {
            size: 1024,
            window: 1,
            lead: 1,
            rate: 2000.0,
            ..Options::default()
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--address" => o.address = value,
                "--topic" => o.topic = value,
                "--workload" => o.workload = value,
                "--size" => o.size = number(&name, &value)?,
                "--window" => o.window = number(&name, &value)?,
                "--lead" => o.lead = number(&name, &value)?,
                "--count" => o.count = number(&name, &value)?,
                "--warmup" => o.warmup = duration(&name, &value)?,
                "--seconds" => o.seconds = duration(&name, &value)?,
                "--rate" => o.rate = number(&name, &value)?,
                _ => return Err(format!("no option {name}")),
            }
        }
        if o.address.is_empty() || o.topic.is_empty() || o.workload.is_empty() {
            return Err("--address, --topic and --workload are needed".into());
        }
        if o.size < crate::payload::HEADER || o.window == 0 || o.lead == 0 || o.rate <= 0.0 {
            return Err("sizes, windows and rates are too small".into());
        }
        Ok(o)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn a_line() {
        let o = parse("--address a:1 --topic t --workload e2e --size 100 --window 9 --lead 8 --warmup 0.5 --seconds 3 --rate 10.5 --count 7").unwrap();
        assert_eq!((o.size, o.window, o.lead, o.count), (100, 9, 8, 7));
        assert_eq!(
            (o.warmup, o.seconds),
            (Duration::from_millis(500), Duration::from_secs(3))
        );
        assert_eq!((o.address.as_str(), o.rate), ("a:1", 10.5));
    }

    #[test]
    fn bad_lines() {
        let good = "--address a --topic t --workload e2e";
        for bad in [
            "--size 15",
            "--size 1K",
            "--size",
            "--window 0",
            "--rate 0",
            "--seconds -1",
            "--fast 1",
        ] {
            assert!(parse(&format!("{good} {bad}")).is_err(), "{bad}");
        }
        assert!(parse("--topic t --workload e2e").is_err());
    }
}
