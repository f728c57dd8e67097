"""A PostgreSQL of its own for each run of pytest, up before Django's settings are read.

One server for the whole run: xdist's workers inherit DATABASE_URL from the process that started it. With a
DATABASE_URL in the environment from the beginning, that server is used, and nothing is started.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import pytest

from compliance import database

ROOT = Path(__file__).resolve().parent.parent
keeper: subprocess.Popen[bytes] | None = None


# A wrapper runs before the hooks it wraps, so also before pytest-django reads the settings.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None]:
    global keeper
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)
    if not os.environ.get("DATABASE_URL"):
        folder = Path(tempfile.mkdtemp(prefix="portal-tests-"))
        keeper = keep_until_we_end(folder)
        # Nothing here must survive a power cut, and waiting for the disk would take most of the time.
        database.start(folder, fsync="off", synchronous_commit="off", full_page_writes="off")
        os.environ["DATABASE_URL"] = url(folder)
    return (yield)


def pytest_unconfigure() -> None:
    global keeper
    if keeper and keeper.stdin:
        keeper.stdin.close()
        keeper.wait()
        keeper = None


def keep_until_we_end(folder: Path) -> subprocess.Popen[bytes]:
    """A process that stops the server and deletes `folder` once our end of its pipe is closed.

    However we end, the pipe does: after Ctrl-C, and when pytest is killed.
    """
    return subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            'read _; "$0" -m compliance.database stop "$1"; rm -rf "$1"',
            sys.executable,
            folder,
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def url(folder: Path) -> str:
    """The address of the database in `folder`, as DATABASE_URL.

    The socket's folder stands in the path: django-environ does not decode one that stands for the host.
    """
    known = database.connection(folder)
    return f"postgres://{known['USER']}:{quote(known['PASSWORD'])}@/{quote(known['HOST'])}/{known['NAME']}"
