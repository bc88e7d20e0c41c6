#!/usr/bin/env python3
"""Stands in for a model: loads for a while, then answers one question at a time, slowly.

It answers plain HTTP requests and CloudEvents alike; the answer to an event is an event, which goes back to the Broker.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOAD_SECONDS = float(os.environ.get("LOAD_SECONDS", "3"))
ANSWER_SECONDS = float(os.environ.get("ANSWER_SECONDS", "0.5"))
GREETING = os.environ.get("GREETING", "hello")
REVISION = os.environ.get("K_REVISION", "model")


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"ready": True})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        question = body.decode(errors="replace")
        print(f"thinking about {question[:60]!r}", flush=True)
        time.sleep(ANSWER_SECONDS)
        answer = {"answer": f"{GREETING}, {len(question)} characters", "revision": REVISION}
        if self.headers.get("ce-id") is None:
            self.answer(200, answer)
            return
        event = {
            "ce-specversion": "1.0",
            "ce-id": "answer-" + self.headers["ce-id"],
            "ce-source": "/ai/model",
            "ce-type": "answer",
        }
        self.answer(200, answer, event)

    def answer(self, status, value, headers=None):
        data = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    print(f"loading for {LOAD_SECONDS:g} s", flush=True)
    time.sleep(LOAD_SECONDS)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Model)

    def stop(*_):
        print("ending", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    sys.exit(main())
