//! The Rust SDK (`cloudevents-sdk`) both ways: what it sends is accepted, what Pelton delivers it understands.

use cloudevents::event::Data;
use cloudevents::{AttributesReader, EventBuilder, EventBuilderV10};
use hyper::Method;
use pelton_tests::pelton::Site;
use pelton_tests::subscriber::Subscriber;
use pelton_tests::{eventually, http};

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_is_understood_and_understands() {
    let subscriber = Subscriber::start().await;
    let site = Site::new(&super::resources(&subscriber.url("/")));
    let pelton = site.start().await;
    let events: Vec<cloudevents::Event> = (0..4)
        .map(|number| {
            EventBuilderV10::new()
                .id(format!("rust-{number}"))
                .source("/interop/rust")
                .ty("interop.sent")
                .subject("subject")
                .extension("region", "eu")
                .data("application/json", serde_json::json!({"number": number}))
                .build()
                .unwrap()
        })
        .collect();

    let structured = serde_json::to_string(&events[0]).unwrap();
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(
        http::request(pelton.ingress, Method::POST, "/default/b", &headers, structured).await.status,
        202
    );

    let batch = serde_json::to_string(&events[1..3]).unwrap();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(http::request(pelton.ingress, Method::POST, "/default/b", &headers, batch).await.status, 202);

    let attributes: Vec<(String, String)> = events[3]
        .iter()
        .filter(|(name, _)| *name != "datacontenttype")
        .map(|(name, value)| (format!("ce-{name}"), value.to_string()))
        .collect();
    let mut headers: Vec<(&str, &str)> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.push(("content-type", "application/json"));
    let data: Vec<u8> = events[3].data().unwrap().clone().try_into().unwrap();
    assert_eq!(http::request(pelton.ingress, Method::POST, "/default/b", &headers, data).await.status, 202);

    eventually("all are delivered", async || (subscriber.count() == events.len()).then_some(())).await;
    for receipt in subscriber.receipts() {
        let got = cloudevents::binding::http::to_event(&receipt.headers, receipt.body.to_vec()).unwrap();
        let sent = events.iter().find(|event| event.id() == got.id()).unwrap();
        assert_eq!((got.source(), got.ty(), got.subject()), (sent.source(), sent.ty(), sent.subject()));
        assert_eq!(got.extension("region").map(ToString::to_string).as_deref(), Some("eu"));
        let json = |data: Option<&Data>| -> serde_json::Value { data.unwrap().clone().try_into().unwrap() };
        assert_eq!(json(got.data()), json(sent.data()));
    }
}
