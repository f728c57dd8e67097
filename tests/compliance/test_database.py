"""The launcher of the embedded PostgreSQL, tried on real servers in temporary folders."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from compliance import database
from compliance.database import EmbeddedDatabaseError

ROOT = Path(database.__file__).resolve().parent.parent
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has this trouble")


@pytest.fixture
def new_folder() -> Iterator[Path]:
    # Not tmp_path: that is often too long for a socket, which is a test of its own.
    with tempfile.TemporaryDirectory(prefix="portal-") as place:
        yield Path(place) / "postgres"
        with suppress(EmbeddedDatabaseError):
            database.stop(Path(place) / "postgres")


@pytest.fixture(scope="module")
def once_made() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="portal-") as place:
        database.start(Path(place), **FAST)
        database.stop(Path(place))
        yield Path(place)


@pytest.fixture
def folder(new_folder: Path, once_made: Path) -> Path:
    """A stopped database, copied: making one takes half a second and more."""
    return shutil.copytree(once_made, new_folder)


def connect(folder: Path, **changed: str) -> psycopg.Connection:
    known = database.connection(folder)
    wanted = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    return psycopg.connect(**({name: known[key] for name, key in wanted.items()} | changed), autocommit=True)


def ask(folder: Path, question: str) -> object:
    with connect(folder) as server:
        row = server.execute(question).fetchone()
    return row and row[0]


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "compliance.database", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kill_the_server(folder: Path) -> None:
    os.kill(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)


def test_a_new_folder_becomes_a_server_that_takes_connections(new_folder):
    database.start(new_folder)

    assert ask(new_folder, "SELECT current_database()") == "portal"
    assert ask(new_folder, "SHOW listen_addresses") == ""
    assert ask(new_folder, "SHOW data_checksums") == "on"
    assert ask(new_folder, "SHOW server_encoding") == "UTF8"
    assert ask(new_folder, "SELECT datlocale FROM pg_database WHERE datname = 'portal'") == "C.UTF-8"
    assert ask(new_folder, "SELECT upper('é')") == "É"


def test_settings_of_the_caller_reach_the_server(folder):
    database.start(folder, **FAST)

    assert ask(folder, "SHOW fsync") == "off"


def test_starting_a_running_server_leaves_it_as_it_is(folder):
    database.start(folder, **FAST)
    before = ask(folder, "SELECT pg_postmaster_start_time()")

    database.start(folder)

    assert ask(folder, "SELECT pg_postmaster_start_time()") == before


def test_processes_that_start_it_at_once_share_one_server(new_folder):
    starters = [command("start", new_folder) for _ in range(3)]

    for starter in starters:
        output, _ = starter.communicate(timeout=60)
        assert starter.returncode == 0, output
    assert (new_folder / "log").read_text().count("ready to accept connections") == 1
    assert ask(new_folder, "SELECT 1") == 1


def test_asking_for_the_connection_makes_one_password_and_no_server(new_folder):
    with ThreadPoolExecutor(8) as threads:
        passwords = {known["PASSWORD"] for known in threads.map(database.connection, [new_folder] * 20)}

    assert len(passwords) == 1
    assert sorted(path.name for path in new_folder.iterdir()) == ["password"]
    assert not database.running(new_folder)


def test_only_its_user_may_read_the_password_and_nobody_enters_without_it(folder):
    database.start(folder, **FAST)

    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    for wrong in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(folder, password=wrong, passfile="/dev/null")


def test_a_lost_password_is_reported_as_that(folder):
    database.start(folder, **FAST)
    right = (folder / "password").read_text()
    (folder / "password").unlink()

    with pytest.raises(EmbeddedDatabaseError, match="does not take the password in"):
        database.start(folder)

    (folder / "password").write_text(right)
    database.start(folder)


def test_after_kill_9_it_starts_again_with_all_that_was_committed(folder):
    database.start(folder)
    with connect(folder) as server:
        server.execute("CREATE TABLE kept AS SELECT 'still here' AS text")
        kill_the_server(folder)

    database.start(folder)

    assert ask(folder, "SELECT text FROM kept") == "still here"


def test_a_pid_file_that_names_a_stranger_neither_hinders_a_start_nor_harms_the_stranger(folder):
    database.start(folder, **FAST)
    kill_the_server(folder)
    pid_file = folder / "data" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        left = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *left[1:], ""]))

        database.stop(folder)
        database.start(folder, **FAST)
        answer = ask(folder, "SELECT 1")
        database.stop(folder)

        harmed = stranger.poll() is not None
        stranger.kill()
    assert answer == 1
    assert not harmed


def test_a_start_that_was_cut_short_is_begun_anew(new_folder):
    database.connection(new_folder)
    (new_folder / "data.new").mkdir()
    (new_folder / "data.new" / "PG_VERSION").write_text("18")

    database.start(new_folder, **FAST)

    assert ask(new_folder, "SELECT 1") == 1


def test_the_server_outlives_its_starter_and_ctrl_c(folder):
    script = f"""
from compliance import database
database.start(database.Path({str(folder)!r}))
print(flush=True)
input()
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert starter.stdout
    starter.stdout.readline()

    os.killpg(starter.pid, signal.SIGINT)  # what a terminal does to everyone in it
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()

    assert ask(folder, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["long" * 25, "a,comma", "a blank, and 'quotes\" $HOME"])
def test_a_path_that_no_socket_can_have_is_no_hindrance(new_folder, once_made, name):
    awkward = shutil.copytree(once_made, new_folder / name)
    host = Path(database.connection(awkward)["HOST"])

    database.start(awkward, **FAST)

    assert ask(awkward, "SELECT 1") == 1
    assert stat.S_IMODE(host.stat().st_mode) == 0o700
    database.stop(awkward)
    assert not host.exists()


def test_a_socket_folder_that_somebody_else_made_is_not_trusted(new_folder):
    awkward = new_folder / ("long" * 25)
    host = Path(database.connection(awkward)["HOST"])
    host.rmdir()
    host.symlink_to(new_folder)

    with pytest.raises(EmbeddedDatabaseError, match="is not ours"):
        database.start(awkward)

    host.unlink()


def test_data_of_another_version_of_postgresql_is_refused(folder):
    database.start(folder, **FAST)
    database.stop(folder)
    (folder / "data" / "PG_VERSION").write_text("15\n")

    with pytest.raises(EmbeddedDatabaseError, match=r"PostgreSQL 15 made .* PostgreSQL 18 here cannot read"):
        database.start(folder)


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(new_folder):
    with pytest.raises(EmbeddedDatabaseError, match="max_connections"):
        database.start(new_folder, max_connections="-1")


def test_stop_stops_it_and_a_second_stop_is_harmless(folder):
    database.start(folder, **FAST)
    with connect(folder):  # an open connection is no reason to wait
        database.stop(folder)

    assert not database.running(folder)
    assert not (folder / "data" / "postmaster.pid").exists()
    database.stop(folder)
    database.stop(folder / "never made")


def test_the_command_starts_reports_and_stops(folder):
    for arguments, status, said in [
        ("status", 3, "stopped"),
        ("start", 0, "running"),
        ("status", 0, "running"),
        ("stop", 0, "stopped"),
    ]:
        run = command(arguments, folder)
        output, _ = run.communicate(timeout=60)

        assert (run.returncode, output) == (status, f"PostgreSQL in {folder} is {said}.\n")


def test_variables_meant_for_another_server_change_nothing(folder, monkeypatch):
    for name, value in {"PGPORT": "6543", "PGHOST": "elsewhere", "PGDATA": "/", "PGUSER": "other"}.items():
        monkeypatch.setenv(name, value)

    database.start(folder, **FAST)

    assert ask(folder, "SELECT 1") == 1


def test_the_log_quotes_no_numbers_and_texts_of_people(folder):
    database.start(folder, **FAST)
    with connect(folder) as server:
        server.execute("CREATE TABLE person (e164 text PRIMARY KEY)")
        server.execute("INSERT INTO person VALUES ('+12025550143')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            server.execute("INSERT INTO person VALUES ('+12025550143')")

    log = (folder / "log").read_text()
    assert "duplicate key" in log
    assert "2025550143" not in log


@only_as_root
def test_the_folder_of_another_user_is_refused(new_folder):
    database.connection(new_folder)
    os.chown(new_folder, 54321, 54321)

    with pytest.raises(EmbeddedDatabaseError, match="belongs to user 54321"):
        database.start(new_folder)


@only_as_root
def test_root_without_namespaces_is_told_the_ways_out_of_a_closed_folder(new_folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(EmbeddedDatabaseError, match=r"may not enter .* or set DATABASE_URL"):
        database.start(new_folder)


@only_as_root
def test_root_without_namespaces_has_another_user_run_it(new_folder, monkeypatch):
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(sys.prefix).parents):
        pytest.skip("this checkout is in a folder that only root may enter")
    new_folder.parent.chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nonexistent")

    database.start(new_folder, **FAST)
    kill_the_server(new_folder)
    database.start(new_folder, **FAST)

    assert ask(new_folder, "SELECT 1") == 1
    assert (new_folder / "data").stat().st_uid != 0
    monkeypatch.setenv("PATH", path)
    database.stop(new_folder)
    database.start(new_folder, **FAST)  # its data stay that user's when namespaces come back
    assert ask(new_folder, "SELECT 1") == 1
