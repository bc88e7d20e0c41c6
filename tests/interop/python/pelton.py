"""A Pelton of its own for a script: started on free ports over a scratch folder, stopped at the end."""

import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESOURCES = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: interop}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: binary}}
spec:
  broker: interop
  subscriber: {{uri: "{url}/binary"}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: structured}}
spec:
  broker: interop
  subscriber: {{uri: "{url}/structured"}}
  delivery: {{format: json}}
"""


class Subscriber:
    """Keeps what it gets: path, headers and body of each request."""

    def __init__(self):
        self.got = []
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                subscriber.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.got)} of {count} deliveries within {seconds} s")
            time.sleep(0.02)
        return self.got


class Pelton:
    """`pelton run` over RESOURCES; the ingress address is `self.ingress`."""

    def __init__(self, subscriber):
        self.folder = tempfile.TemporaryDirectory()
        resources = os.path.join(self.folder.name, "resources")
        os.mkdir(resources)
        with open(os.path.join(resources, "interop.yaml"), "w", encoding="utf-8") as file:
            file.write(RESOURCES.format(url=subscriber.url))
        command = [os.environ["PELTON_BIN"], "run", resources, "--data", os.path.join(self.folder.name, "data")]
        command += ["--ingress", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        environment = {**os.environ, "PELTON__LOG_OUTPUT__FORMAT": "json"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        addresses = {}
        while not {"ingress", "admin"} <= addresses.keys():
            line = self.process.stderr.readline()
            if not line:
                raise AssertionError("pelton ended before it listened")
            fields = json.loads(line)
            if "listener" in fields:
                addresses[fields["listener"]] = fields["address"]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.ingress = f"http://{addresses['ingress']}/default/interop"
        self.wait_ready(f"http://{addresses['admin']}/readyz")

    @staticmethod
    def wait_ready(url):
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(url) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise AssertionError("pelton did not get ready")
            time.sleep(0.02)

    def post(self, headers, body):
        request = urllib.request.Request(self.ingress, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return answer.status

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0, "pelton did not stop gracefully"
        self.folder.cleanup()
