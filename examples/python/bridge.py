"""An app server in Python, connected to the bridge: one file to copy. Python 3.9 or newer, the standard library alone.

    BRIDGE_URL=http://localhost:3001 python3 bridge.py    # beside make demo; the demo below the class, at port 3006
    curl -s localhost:3006/message -d '{"session": "s1", "text": "Hello"}'

Sending never waits for the net: events are written to a spool folder, and a thread of their session's posts them, in order, until
the bridge has taken them. What operators do comes by the stream, which goes on where it was.
"""

import json
import os
import random
import secrets
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

AGAIN = {401, 408, 425, 426, 429}  # and 5xx: they can change; a visitor's word is not dropped for a wrong key
NO_EVENT = "evt_0000000000000001"  # an id that no event has: the stream then shows the last hour


class Bridge:
    def __init__(self, url, api_key="", spool="bridge-spool", on_event=None):
        self.url, self.api_key, self.spool, self.on_event = url.rstrip("/"), api_key, Path(spool), on_event
        self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.queues = {}  # session: names of files
        self.last = time.time_ns()
        self.seen = set()
        for name in sorted(self.spool.glob("*.json")):  # what an earlier process could not send
            self.last = max(self.last, int(name.stem))
            self._line_up(json.loads(name.read_text())["session"], name)
        if on_event:
            threading.Thread(target=self._listen, daemon=True).start()

    @staticmethod
    def now():
        return datetime.now(timezone.utc).isoformat()  # with microseconds: two edits of one second must not look the same

    def send(self, event):
        """Keeps an event and returns. It is as it is now: what happens to its objects later changes nothing."""
        session = event.get("sessionId") or event.get("session", {}).get("id", "")
        letter = {"session": session, "key": secrets.token_hex(16), "body": json.dumps(event)}
        with self.lock:
            self.last = max(self.last + 1, time.time_ns())
            name = self.spool / f"{self.last:020d}.json"
            part = name.with_suffix(".part")
            part.write_text(json.dumps(letter))
            part.rename(name)
            self._line_up(session, name, locked=True)

    def _line_up(self, session, name, locked=False):
        if not locked:
            with self.lock:
                return self._line_up(session, name, locked=True)
        if session in self.queues:
            self.queues[session].append(name)
            return None
        self.queues[session] = [name]
        threading.Thread(target=self._deliver, args=(session,), daemon=True).start()

    def _deliver(self, session):
        while True:
            name = self.queues[session][0]
            letter = json.loads(name.read_text())
            pause = 0.25
            while True:
                status, after = self._post("/api/events", letter["body"], {"Idempotency-Key": letter["key"]})
                if status == 200 or (0 < status < 500 and status not in AGAIN):
                    break
                time.sleep(max(random.uniform(pause / 2, pause), min(after, 60)))
                pause = min(pause * 2, 5)
            if status != 200:
                print(f"bridge: refused with {status}: {letter['body']}", flush=True)
            name.unlink()
            with self.lock:
                self.queues[session].pop(0)
                if not self.queues[session]:
                    del self.queues[session]
                    return

    def _request(self, path, body=None, headers=None):
        headers = {"X-PocketPing-Protocol": "1", "Content-Type": "application/json", **(headers or {})}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return urllib.request.Request(self.url + path, data=body and body.encode(), headers=headers)

    def _post(self, path, body, headers):
        """Returns the status, 0 where there was no answer, and the seconds to wait that were asked for."""
        try:
            with urllib.request.urlopen(self._request(path, body, headers), timeout=20) as answer:
                return answer.status, 0
        except urllib.error.HTTPError as error:
            return error.code, int(error.headers.get("Retry-After") or 0)
        except OSError:
            return 0, 0

    def _listen(self):
        place = self.spool / "last-event-id"
        pause = 0.25
        while True:
            last = place.read_text().strip() if place.exists() else NO_EVENT
            try:
                request = self._request("/api/events/stream", headers={"Last-Event-ID": last})
                with urllib.request.urlopen(request, timeout=75) as stream:  # its heart beats every 30 seconds
                    pause = 0.25
                    fields = {}
                    for line in stream:
                        name, _, value = line.decode().rstrip("\n").partition(":")
                        if name:
                            fields[name] = value.removeprefix(" ") if hasattr(value, "removeprefix") else value.lstrip(" ")
                        elif fields or not line.strip():
                            self._take(fields, place)
                            fields = {}
            except OSError:
                pass
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, 5)

    def _take(self, fields, place):
        if "data" not in fields or fields.get("event"):
            return  # gap, overflow, a heartbeat
        event = json.loads(fields["data"])
        if event.get("id") not in self.seen or not event.get("id"):
            self.on_event(event)
            self.seen.add(event.get("id"))
        if fields.get("id"):
            part = place.with_suffix(".part")
            part.write_text(fields["id"])
            part.rename(place)


# The demo: POST /message {session, text}, POST /edit {session, id, text}, GET /answers.


def main():
    spool = Path(os.environ.get("SPOOL", "bridge-spool"))
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = spool / "answers"  # a database, in a real app; by message id, for the stream may show the last hour again
    answers = json.loads(kept.read_text()) if kept.exists() else {}

    def on_event(event):
        if event["type"] == "operator_message" and event["messageId"] not in answers:
            answers[event["messageId"]] = {"session": event["sessionId"], "text": event["content"]}
            kept.write_text(json.dumps(answers))

    bridge = Bridge(os.environ.get("BRIDGE_URL", "http://localhost:3001"), os.environ.get("BRIDGE_API_KEY", ""), spool, on_event)

    class App(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, list(answers.values()))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            session = body["session"]
            if self.path == "/edit":
                bridge.send({"type": "visitor_message_edited", "sessionId": session, "messageId": body["id"], "content": body["text"],
                             "editedAt": bridge.now()})
                return self.answer(200, {"ok": True})
            message = secrets.token_hex(8)
            bridge.send({
                "type": "visitor_message", "session": {"id": session, "visitorId": session},
                "message": {"id": message, "sessionId": session, "content": body["text"], "sender": "visitor", "timestamp": bridge.now()},
            })
            return self.answer(200, {"id": message})

        def answer(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    port = int(os.environ.get("PORT", "3006"))
    server = ThreadingHTTPServer(("127.0.0.1", port), App)
    print(f"listening http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
