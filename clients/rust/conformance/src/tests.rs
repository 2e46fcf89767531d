//! The driver against the broker for tests: every command, and the shape of its answer.

use spillway::testing::Broker;

use super::*;

#[tokio::test]
async fn every_command() {
    let broker = Broker::start().await.unwrap();
    let dial = format!(r#"{{"cmd":"dial","address":"{}"}}"#, broker.address());
    let steps = [
        (dial.as_str(), r#"{"id":null,"ok":true}"#),
        (
            r#"{"cmd":"create_queue","queue":"q","tuning":{"window_messages":3,"overflow":"REJECT"}}"#,
            r#""revision":1"#,
        ),
        (
            r#"{"cmd":"update_queue","queue":"q","revision":7}"#,
            r#""kind":"REVISION_MISMATCH""#,
        ),
        (
            r#"{"cmd":"producer","as":"p","queue":"none"}"#,
            r#""kind":"NOT_FOUND""#,
        ),
        (
            r#"{"cmd":"producer","as":"p","queue":"q","producer_id":"me"}"#,
            r#""producer_id":"me""#,
        ),
        (
            r#"{"cmd":"publish","on":"p","count":3,"size":8,"seed":1,"keys":["a","b"]}"#,
            r#""offsets":[[0,3]]"#,
        ),
        (
            r#"{"cmd":"try_publish","on":"p","count":2}"#,
            r#""kind":"QUEUE_FULL""#,
        ),
        (
            r#"{"cmd":"consumer","as":"c","queue":"q","group":"g"}"#,
            r#""mode":"SHARED","ok":true,"start_offset":0"#,
        ),
        (
            r#"{"cmd":"receive","on":"c","count":3}"#,
            r#""fnv":"662bb0e2c85843c1","key":"a","offset":0,"size":8"#,
        ),
        (
            r#"{"cmd":"settle","on":"c","offsets":[[0,1],[2,1]],"action":"ACK"}"#,
            r#""ok":true"#,
        ),
        (
            r#"{"cmd":"settle","on":"c","offsets":[[1,1]],"action":"PARK","reason":"why"}"#,
            r#""ok":true"#,
        ),
        (
            r#"{"cmd":"receive","on":"c","idle_ms":50}"#,
            r#""ok":true,"records":[]"#,
        ),
        (
            r#"{"cmd":"list_parked","queue":"q","group":"g"}"#,
            r#""parked":[{"attempts":1,"offset":1,"reason":"why"}]"#,
        ),
        (
            r#"{"cmd":"release_parked","queue":"q","group":"g"}"#,
            r#""released":1"#,
        ),
        (r#"{"cmd":"receive","on":"c","count":1}"#, r#""attempt":1"#),
        (
            r#"{"cmd":"replay","as":"r","queue":"q","start":{"last":2},"stop":{"tail":true}}"#,
            r#""ok":true"#,
        ),
        (r#"{"cmd":"receive","on":"r","count":9}"#, r#""offset":2"#),
        (r#"{"cmd":"receive","on":"r"}"#, r#""kind":"END""#),
        (
            r#"{"cmd":"seek","queue":"q","group":"g","start":{"offset":2}}"#,
            r#""cursor_offset":2"#,
        ),
        (r#"{"cmd":"credit","on":"p"}"#, r#""open":true"#),
        (r#"{"cmd":"explain","queue":"q"}"#, r#""stalls":["#),
        (r#"{"cmd":"publish","on":"none"}"#, r#""kind":"INTERNAL""#),
        (r#"{"cmd":"close","on":"c"}"#, r#""ok":true"#),
        (r#"{"cmd":"close"}"#, r#""ok":true"#),
    ];
    let mut driver = Driver::default();
    for (line, expected) in steps {
        let command: Command = serde_json::from_str(line).unwrap();
        let answer = driver.answer(&command).await.to_string();
        assert!(
            answer.contains(expected),
            "{line}\ngave {answer}\nnot  {expected}"
        );
    }
}

/// The driver's payloads are those of every other driver.
#[tokio::test]
async fn payloads() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../tests/vectors/payloads.json"
    );
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!cases.is_empty(), "no vectors");
    // A message shows its payload to who receives it only.
    let broker = Broker::start().await.unwrap();
    broker.create_queue("q", spillway::TuningChange::new());
    let client = broker.client().await.unwrap();
    let producer = client.producer("q").open().await.unwrap();
    let mut consumer = client.consumer("q", "g").open().await.unwrap();
    for case in cases {
        let line = json!({"seed": case["seed"], "size": case["size"]});
        let command: Command = serde_json::from_value(line).unwrap();
        let record = command.record(case["record"].as_u64().unwrap());
        producer.publish(record).await.unwrap();
        let delivery = consumer.try_next().await.unwrap().unwrap();
        let payload = delivery.payload();
        let head = payload.iter().take(16).map(|byte| format!("{byte:02x}"));
        assert_eq!(head.collect::<String>(), case["head"], "{case}");
        let shown = show(0, 1, b"", payload);
        let (size, fnv) = (&shown["size"], &shown["fnv"]);
        assert_eq!((size, fnv), (&case["size"], &case["fnv"]), "{case}");
        delivery.ack().unwrap();
    }
}
