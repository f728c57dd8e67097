"""A real HTTP server on this machine that plays any carrier: it answers by a script and remembers what it was asked."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Literal

from messaging.carriers import http
from tests.messaging.carriers.dialect import Answer, Asked

# "hang": says nothing until the client is gone. "cut": breaks off in mid-answer. "drip": a byte now and then, longer
# than anybody should listen.
Step = Answer | Literal["hang", "cut", "drip"]
DRIPS = 1.5  # seconds


class Loopback:
    """The server. `script` is what it answers with, step by step; the last step is given again and again."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: list[Step] = []
        self.over = Event()
        self._lock = Lock()
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                step = played.next_step(Asked(self.command, self.path, dict(self.headers), body, self.client_address))
                try:
                    if step == "hang":
                        played.over.wait(10)
                        self.close_connection = True
                    elif step == "cut":
                        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"id": "')
                        self.wfile.flush()
                        # As a broken line, whatever is left to read or to write.
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                    elif step == "drip":
                        self.drip()
                    else:
                        self.say(step)
                except OSError:
                    self.close_connection = True  # whoever asked listens no longer: some tests are about that

            do_GET = do_POST = do_PUT = answer

            def say(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def drip(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                ends = time.monotonic() + DRIPS
                while time.monotonic() < ends and not played.over.wait(0.02):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def will_answer(self, *script: Step) -> None:
        self.script = list(script)

    def next_step(self, asked: Asked) -> Step:
        with self._lock:
            self.asked.append(asked)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def loopback() -> Iterator[Loopback]:
    """A running Loopback."""
    played = Loopback()
    try:
        yield played
    finally:
        played.close()


def closed_port() -> str:
    """An address at which nobody listens."""
    with loopback() as gone:
        return gone.url


def forget_client() -> None:
    """Let the carriers' HTTP client be made anew, with the settings as they are."""
    while http._client:
        http._client.pop().close()
