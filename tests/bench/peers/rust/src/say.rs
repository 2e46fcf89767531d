//! What the program prints: a line of JSON for each of `begin`, `end`, `done` and `error`.

use std::io::Write;

fn line(text: String) {
    let mut out = std::io::stdout().lock();
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

pub fn begin() {
    line(r#"{"at":"begin"}"#.into());
}

pub fn end(records: u64, seconds: f64) {
    line(format!(
        r#"{{"at":"end","records":{records},"seconds":{seconds}}}"#
    ));
}

/// REQUIRES: the latencies are sorted; there may be none.
pub fn done(latencies: &[u32]) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| quantile(latencies, part));
    line(format!(
        r#"{{"at":"done","p50_us":{p50},"p99_us":{p99},"p999_us":{p999}}}"#
    ));
}

pub fn error(why: &str) {
    line(format!(r#"{{"at":"error","error":{}}}"#, quoted(why)));
}

fn quantile(sorted: &[u32], part: f64) -> u32 {
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(0)
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let values: Vec<u32> = (1..=1000).collect();
        let of = |part| quantile(&values, part);
        assert_eq!((of(0.5), of(0.99), of(0.999)), (500, 990, 999));
        assert_eq!((quantile(&[7], 0.999), quantile(&[], 0.5)), (7, 0));
    }

    #[test]
    fn text_in_json() {
        assert_eq!(quoted("a \"b\\\n"), r#""a \"b\\ ""#);
    }
}
