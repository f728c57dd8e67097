"""What the demo sets for whoever has set nothing. Called before Django reads its settings; imports no Django."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import environ

ROOT = Path(__file__).resolve().parent.parent.parent
VAR = ROOT / "var"
HOST, PORT = "127.0.0.1", "8000"


def set_defaults(arguments: list[str]) -> None:
    """Put defaults into the environment; what is set there, or in .env, stays. `arguments` follow "demo".

    BIND and PORT say where gunicorn listens; --port goes before both.
    """
    if (ROOT / ".env").exists():
        environ.Env.read_env(ROOT / ".env")
    host, _, port = os.environ.get("BIND", "").rpartition(":")
    port = asked_port(arguments) or port or os.environ.get("PORT") or PORT
    os.environ["BIND"] = f"{host or HOST}:{port}"
    os.environ.setdefault("DEMO", "1")
    os.environ.setdefault("PUBLIC_URL", f"http://127.0.0.1:{port}")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    if not os.environ.get("SECRET_KEY"):
        os.environ["SECRET_KEY"] = kept_secret(VAR / "demo-secret-key")


def asked_port(arguments: list[str]) -> str:
    """The value of --port, in either way of writing it; empty when it is not there."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--port="):
            return argument.removeprefix("--port=")
        if argument == "--port":
            return "".join(arguments[index + 1 : index + 2])
    return ""


def kept_secret(path: Path) -> str:
    """The secret in `path`, made on first use, so that whoever is logged in stays so over a restart."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(50))
        fresh.rename(path)
    return path.read_text().strip()
