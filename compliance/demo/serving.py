"""Runs the demo's web server and worker as children, and ends both together."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

from django.conf import settings

START_WITHIN = 60  # seconds
STOP_WITHIN = 40  # seconds; gunicorn lets requests under way finish for 30


class CannotServe(Exception):
    """The message says why, and what to do."""


def refuse_taken_port(bind: str) -> None:
    """Raises CannotServe when something listens there already, or nothing may."""
    host, _, port = bind.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotServe(f"“{port}” is no port. Choose a number from 1024 to 65535: PORT=8001 make demo")
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except OSError as error:
        who = " The demo seems to run already." if _answers(f"http://127.0.0.1:{port}/healthz") else ""
        raise CannotServe(
            f"Port {port} cannot be used: {error.strerror}.{who} "
            "Stop what has it, or choose another: PORT=8001 make demo"
        ) from error


def serve(bind: str, announce: Callable[[], None]) -> None:
    """Serve at `bind` until Ctrl-C, SIGTERM or SIGHUP. `announce` is called once the portal answers.

    Raises CannotServe when one of the two ends by itself; the other one is then ended too.
    """
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.set())
    # In sessions of their own: Ctrl-C reaches only us, and we end them the patient way.
    children = {
        name: subprocess.Popen(
            [sys.executable, *command],
            cwd=settings.BASE_DIR,
            env={**os.environ, "BIND": bind},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        for name, command in {
            "web server": [
                *("-m", "gunicorn", "--config", "compliance/gunicorn.conf.py", "--log-level", "warning"),
                *("--access-logfile", os.devnull, "compliance.wsgi"),
            ],
            "worker": ["manage.py", "work"],
        }.items()
    }
    try:
        port = bind.rpartition(":")[2]
        deadline = time.monotonic() + START_WITHIN
        announced = False
        while not asked.wait(0.2):
            for name, child in children.items():
                if child.poll() is not None:
                    raise CannotServe(f"The {name} has ended by itself ({child.returncode}); see above.")
            if not announced and _answers(f"http://127.0.0.1:{port}/healthz"):
                announce()
                announced = True
            if not announced and time.monotonic() > deadline:
                raise CannotServe(f"The web server does not answer within {START_WITHIN} seconds.")
    finally:
        _end(list(children.values()))


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_WITHIN
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _end_with_parent() -> None:
    """In the child: let Linux end it when we are killed, or it would keep the port."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return b'"ok"' in answer.read(200)
    except (OSError, http.client.HTTPException):
        return False
