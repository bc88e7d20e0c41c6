//! Dead letters: listed, shown, replayed, discarded.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_page_by_page_and_shown() {
    let site = with_letters().await;
    let all = site.get(LETTERS).await;
    assert_eq!(ids(&all), ["4", "1", "2", "3"]);
    assert_eq!(all["next"], Value::Null);
    assert_eq!(
        all["items"][1],
        json!({
            "id": "1-0", "time": "1970-01-01T00:00:01.500Z", "trigger": "default/t", "reason": "exhausted", "attempts": 11,
            "destination": "http://127.0.0.1:9001/", "status": 503, "message": "no room",
            "origin": {"partition": 1, "offset": 40},
            "event": {"id": "1", "source": "/s", "type": "test"},
        })
    );
    let first = site.get(&format!("{LETTERS}?limit=2")).await;
    assert_eq!((ids(&first), &first["next"]), (vec!["4", "1"], &json!("1-1")));
    let second = site.get(&format!("{LETTERS}?limit=2&from=1-1")).await;
    assert_eq!((ids(&second), &second["next"]), (vec!["2", "3"], &Value::Null));
    assert_eq!(ids(&site.get(&format!("{LETTERS}?trigger=t")).await), ["4", "1", "3"]);
    assert_eq!(ids(&site.get(&format!("{LETTERS}?trigger=default/gone")).await), ["2"]);
    assert_eq!(ids(&site.get(&format!("{LETTERS}?reason=rejected")).await), ["3"]);
    let shown = site.get(&format!("{LETTERS}/1-2")).await;
    assert_eq!(shown["body"], "busy");
    assert_eq!(shown["event"]["data"], json!({"n": 1}));
    assert_eq!(shown["event"]["id"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_is_due_again_and_closed_in_one_batch() {
    let site = with_letters().await;
    let (status, answer) = site.post(&format!("{LETTERS}/replay"), r#"{"ids": ["1-0", "1-0"]}"#).await;
    assert_eq!((status, answer), (200, json!({"count": 1, "skipped": 0})));
    let retries = site.records(&topics().retry, 1).await;
    let [retry] = &retries[..] else { panic!("{retries:?}") };
    assert_eq!(retry.event, Some(event("1")));
    assert_eq!(
        retry.envelope.origin,
        Some(Origin {
            trigger: "default/t".into(),
            partition: 1,
            offset: 40,
            step: Step::Retry { attempts: 0, due: Timestamp::from_millis(5_000), failure: None },
        })
    );
    let closed = site.records(&topics().dead_letter, 1).await;
    assert_eq!(closed[3].envelope.step(), Some(&Step::Discarded { of: 0 }));
    assert_eq!(ids(&site.get(LETTERS).await), ["4", "2", "3"]);
    let (status, again) = site.post(&format!("{LETTERS}/replay"), r#"{"ids": ["1-0"]}"#).await;
    assert_eq!((status, &again["code"]), (404, &json!("PEL-1613")));
}

/// Keys out of order and twice, a number that no machine has, line ends between values.
const ODD: &[u8] = b"{\"n\":12345678901234567890123,\n \"b\":1.0,\"a\":\"x\",\"a\":2}";

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_an_event_is_shown_as_it_is() {
    let site = Site::new().await;
    let odd = event_with("1", ODD);
    let record =
        Record { event: Some(odd.clone()), ..letter("1", "default/t", DeadLetterReason::Rejected, 0) };
    site.append(&topics().dead_letter, 0, record).await;
    site.append(&topics().events, 0, Record::new(Envelope::new(Timestamp::EPOCH), odd)).await;
    let tail = "/api/v1/brokers/default/b/tail?from=earliest&follow=false";
    for path in [format!("{LETTERS}/0-0"), tail.to_owned()] {
        let request = Request::get(&path).header("host", "localhost").body(Body::empty()).unwrap();
        let text = String::from_utf8(site.send(request).await.1.to_vec()).unwrap();
        assert!(text.contains(&String::from_utf8_lossy(ODD).replace('\n', " ")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_in_one_way_which_letters_it_is_for() {
    let site = with_letters().await;
    let many: Vec<_> = (0..=crate::limits::IDS_MAX).map(|offset| format!("1-{offset}")).collect();
    let named = json!({"ids": many}).to_string();
    for body in [r#"{"all": true, "trigger": "t"}"#, r#"{"ids": ["1-0"], "all": true}"#, &named] {
        let (status, problem) = site.post(&format!("{LETTERS}/discard"), body.to_owned()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("PEL-1608")), "{problem}");
    }
    // One that is not open, and nothing is closed.
    let (status, _) = site.post(&format!("{LETTERS}/discard"), r#"{"ids": ["0-0", "1-0", "1-9"]}"#).await;
    assert_eq!((status, ids(&site.get(LETTERS).await).len()), (404, 4));
    let (_, answer) = site.post(&format!("{LETTERS}/discard"), r#"{"ids": ["1-2", "0-0", "1-0"]}"#).await;
    assert_eq!(answer, json!({"count": 3, "skipped": 0}));
    assert_eq!(ids(&site.get(LETTERS).await), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_replayed_and_discarded_by_selection() {
    let site = with_letters().await;
    let (_, answer) = site.post(&format!("{LETTERS}/replay"), r#"{"reason": "exhausted"}"#).await;
    // That of the trigger that is gone stays.
    assert_eq!(answer, json!({"count": 2, "skipped": 1}));
    assert_eq!(ids(&site.get(LETTERS).await), ["2", "3"]);
    let (_, answer) = site.post(&format!("{LETTERS}/discard"), r#"{"all": true}"#).await;
    assert_eq!(answer, json!({"count": 2, "skipped": 0}));
    assert_eq!(ids(&site.get(LETTERS).await), Vec::<&str>::new());
    let retries = site.records(&topics().retry, 1).await.len();
    assert_eq!(retries, 2, "what is discarded is not delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_dead_letters_than_one_batch_holds_are_all_closed_once() {
    let site = Site::new().await;
    let count = crate::limits::COMMAND_BATCH_RECORDS + 100;
    let letters = (0..count).map(|number| {
        let id = number.to_string();
        (topics().dead_letter, 0, letter(&id, "default/t", DeadLetterReason::Exhausted, number as u64))
    });
    let batch = Batch { records: letters.collect(), ..Batch::default() };
    site.log.append(batch).await.unwrap();
    let all = format!("{LETTERS}/replay");
    let (first, second) =
        tokio::join!(site.post(&all, r#"{"all": true}"#), site.post(&all, r#"{"all": true}"#));
    assert_eq!(first.1["count"].as_u64().unwrap() + second.1["count"].as_u64().unwrap(), count as u64);
    assert_eq!(ids(&site.get(LETTERS).await).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_letter_to_be_closed_twice() {
    const LETTERS_IN_ALL: usize = 200;
    let site = Site::new().await;
    for number in 0..LETTERS_IN_ALL {
        let letter = letter(&number.to_string(), "default/t", DeadLetterReason::Exhausted, number as u64);
        site.append(&topics().dead_letter, 0, letter).await;
    }
    let all = format!("{LETTERS}/replay");
    for _ in 0..20 {
        // A client that waits only for as long as its request needs to be begun.
        tokio::select! {
            biased;
            _ = site.post(&all, r#"{"all": true}"#) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    site.post(&all, r#"{"all": true}"#).await;
    assert_eq!(site.records(&topics().retry, 1).await.len(), LETTERS_IN_ALL, "each is due once");
}
