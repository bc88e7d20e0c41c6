"""The Python SDK (PyPI `cloudevents`) against Pelton: sends binary and structured, receives binary and structured.

The SDK has no batch mode, so the batch is put together from its structured events.
"""

from datetime import datetime, timezone

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from pelton import Pelton, Subscriber


def event(number, data, content_type):
    attributes = {
        "id": f"python-{number}",
        "source": "/interop/python",
        "type": "interop.sent",
        "specversion": "1.0",
        "datacontenttype": content_type,
        "subject": 'ü "quoted" 100% €',
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "region": "eu west",
    }
    return CloudEvent(attributes=attributes, data=data)


def check(name, sent, got):
    for attribute, value in sent.get_attributes().items():
        assert got.get_attributes().get(attribute) == value, f"{name}: {attribute}: {got.get_attributes().get(attribute)!r} is not {value!r}"
    assert got.get_data() == sent.get_data(), f"{name}: data {got.get_data()!r} is not {sent.get_data()!r}"


def main():
    subscriber = Subscriber()
    pelton = Pelton(subscriber)
    kinds = [({"a": [1, 2.5, "ü"]}, "application/json"), ("plain text ü", "text/plain")]
    sent = {}
    for number, (data, content_type) in enumerate(kinds):
        for mode, to_message in enumerate((to_binary_event, to_structured_event)):
            one = event(f"{number}-{mode}", data, content_type)
            message = to_message(one)
            assert pelton.post(message.headers, message.body) == 202
            sent[one.get_id()] = one
    batch = [event(f"batch-{number}", {"n": number}, "application/json") for number in range(3)]
    body = b"[" + b",".join(to_structured_event(one).body for one in batch) + b"]"
    assert pelton.post({"content-type": "application/cloudevents-batch+json"}, body) == 202
    sent.update({one.get_id(): one for one in batch})

    seen = {"/binary": set(), "/structured": set()}
    for path, headers, body in subscriber.wait(2 * len(sent)):
        ours = {name.lower(): value for name, value in headers.items()}
        structured = ours.get("content-type", "").startswith("application/cloudevents")
        assert structured == (path == "/structured"), f"{path}: content type {ours.get('content-type')}"
        got = from_http_event(HTTPMessage(headers=ours, body=body))
        check(f"{path} {got.get_id()}", sent[got.get_id()], got)
        seen[path].add(got.get_id())
    assert seen["/binary"] == seen["/structured"] == set(sent), "an event is missing"
    pelton.stop()
    print(f"python SDK: {len(sent)} events, each received in binary and structured mode")


main()
