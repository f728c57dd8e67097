"""The HTTP client that speaks with carriers: every wait and every answer has an end, and no error is mistaken."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import time_machine

from messaging.carriers import http
from messaging.carriers.base import CarrierError

TIMEOUT = 0.2  # seconds: an answer is over after twice that


class Wire:
    """A server at the level of bytes: after each request it does what `say` does with the connection, which is closed
    when that returns False. `asked` are the requests, `connections` how many there were."""

    def __init__(self, say: Callable[[socket.socket], bool | None]) -> None:
        self.say, self.connections, self.over = say, 0, threading.Event()
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                while request := self.read(connection):
                    self.asked.append(request)
                    if self.say(connection) is False:
                        return
            except OSError:
                return

    def read(self, connection: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (more := connection.recv(65_536)):
                return b""
            request += more
        head, _, body = request.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += connection.recv(65_536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self.over.set()
        self.listener.close()


@pytest.fixture
def wire(settings) -> Iterator[Callable[..., Wire]]:
    """Makes servers; the client is a new one, with a short patience."""
    settings.CARRIER_TIMEOUT = TIMEOUT
    made: list[Wire] = []
    kept = http._client[:]
    http._client.clear()

    def make(say: Callable[[socket.socket], bool | None]) -> Wire:
        made.append(Wire(say))
        return made[-1]

    yield make
    for server in made:
        server.close()
    for client in http._client:
        client.close()
    http._client[:] = kept


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def error_of(ask: Callable[[], object]) -> CarrierError:
    with pytest.raises(CarrierError) as caught:
        ask()
    return caught.value


def drip(wire: Wire, connection: socket.socket, start: bytes, piece: bytes) -> bool:
    """A little now and then, each in time, for far longer than anybody should listen."""
    connection.sendall(start)
    while not wire.over.wait(TIMEOUT / 10):
        connection.sendall(piece)
    return False


# --- Every answer has an end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["body", "chunks", "one header", "many headers", "early hints"],
)
def test_an_answer_that_drips_is_cut_off_and_whether_it_was_taken_is_uncertain(wire, start, piece):
    server = wire(lambda connection: drip(server, connection, start, piece))
    results: list[CarrierError] = []
    asking = threading.Thread(target=lambda: results.append(error_of(lambda: http.post(server.url, content=b"x"))))
    asking.start()
    asking.join(20)
    assert not asking.is_alive()
    (error,) = results
    assert (error.uncertain, error.permanent, error.is_trouble) == (True, False, True)


def test_an_answer_that_is_too_large_is_cut_off(wire):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"x" * 65_536)
        return False

    assert error_of(lambda: http.post(wire(flood).url)).uncertain


def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off(wire):
    packed = gzip.compress(b"x" * (http.LONGEST_ANSWER + 1))
    server = wire(lambda connection: connection.sendall(answer(packed, headers="Content-Encoding: gzip\r\n")))
    assert error_of(lambda: http.post(server.url)).uncertain


def test_an_answer_as_large_as_allowed_comes_whole_also_packed(wire):
    packed = gzip.compress(b"x" * http.LONGEST_ANSWER)
    server = wire(lambda connection: connection.sendall(answer(packed, headers="Content-Encoding: gzip\r\n")))
    assert len(http.post(server.url).content) == http.LONGEST_ANSWER


def test_silence_ends_and_leaves_it_uncertain_for_a_post_and_passing_for_a_get(wire):
    server = wire(lambda connection: not server.over.wait(20))
    post, get = error_of(lambda: http.post(server.url)), error_of(lambda: http.get(server.url))
    assert (post.uncertain, get.uncertain) == (True, False)
    assert post.is_trouble
    assert get.is_trouble
    assert not post.permanent


# --- What an error means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "no HTTP", "no gzip", "no chunks"],
)
def test_a_connection_that_breaks_after_the_request_leaves_it_uncertain(wire, said):
    def cut(connection):
        connection.sendall(said)
        return False

    error = error_of(lambda: http.post(wire(cut).url, content=b"x"))
    assert (error.uncertain, error.permanent, error.is_trouble) == (True, False, True)


def test_nobody_there_is_a_passing_error_of_the_account(wire):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    error = error_of(lambda: http.post(url))
    assert (error.uncertain, error.permanent, error.is_trouble) == (False, False, True)


@pytest.mark.parametrize("url", ["", "no address", "http://[::1", "gopher://example.com/", "http://", "https://\x00/"])
def test_an_address_that_is_none_is_a_lasting_error(wire, url):
    error = error_of(lambda: http.post(url))
    assert (error.uncertain, error.permanent) == (False, True)


@pytest.mark.parametrize("token", ["with\na line break", "with a \u200b"])
def test_a_token_that_no_header_can_hold_is_the_accounts_trouble_and_nothing_leaves(wire, token):
    server = wire(lambda connection: connection.sendall(answer()))
    error = error_of(lambda: http.post(server.url, headers={"Authorization": token}))
    assert (error.uncertain, error.permanent, error.is_trouble) == (False, False, True)
    assert not server.asked


def test_a_redirect_is_not_followed(wire):
    elsewhere = wire(lambda connection: connection.sendall(answer()))
    server = wire(lambda connection: connection.sendall(answer(b"", "302 Found", f"Location: {elsewhere.url}\r\n")))
    assert http.post(server.url, headers={"Authorization": "Bearer secret"}).status_code == 302
    assert not elsewhere.asked


# --- Connections --------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_one_that_was_closed_is_not(wire):
    server = wire(lambda connection: connection.sendall(answer()))
    for _ in range(5):
        assert http.post(server.url, content=b"x").status_code == 200
    assert (len(server.asked), server.connections) == (5, 1)

    def once(connection):
        connection.sendall(answer())
        return False

    closing = wire(once)
    for _ in range(3):
        assert http.post(closing.url, content=b"x").status_code == 200
        time.sleep(0.02)  # the far end closes meanwhile
    assert (len(closing.asked), closing.connections) == (3, 3)


def test_the_end_of_one_request_is_not_that_of_the_next(wire):
    server = wire(lambda connection: connection.sendall(answer()))
    http.post(server.url)
    time.sleep(2.2 * TIMEOUT)
    assert http.post(server.url).status_code == 200
    assert server.connections == 1


def test_cookies_of_one_account_do_not_go_with_the_requests_of_another(wire):
    server = wire(lambda connection: connection.sendall(answer(headers="Set-Cookie: session=secret; Path=/\r\n")))
    for _ in range(2):
        http.post(server.url)
    assert not [request for request in server.asked if b"cookie" in request.lower()]


def test_an_answer_with_odd_headers_is_read(wire):
    server = wire(lambda connection: connection.sendall(answer(b'{"id": 1}', headers="X-Odd: caf\xe9 \x7f\r\n")))
    assert http.json_answer(http.post(server.url)) == {"id": 1}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"1", b"{", b"\xff", b"[" * 100_000, b'{"a": 1}'])
def test_an_answer_that_is_no_object_counts_as_an_empty_one(body):
    assert http.json_answer(httpx.Response(200, content=body)) == ({"a": 1} if body == b'{"a": 1}' else {})


# --- Retry-After --------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def rfc(moment):
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("9999999", 9_999_999),
        (rfc(NOW + timedelta(seconds=90)), 90),
        (rfc(NOW - timedelta(hours=1)), 0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60),
        ("Mon, 23 Nov 2026 07:01:00 -0500", 60),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60),
        ("Mon Nov 23 12:01:00 2026", 60),
        (rfc(datetime(9999, 12, 31, tzinfo=UTC)), 9_999_999),
    ],
)
def test_retry_after_is_read_in_both_forms(value, seconds):
    with time_machine.travel(NOW, tick=False):
        assert http.retry_after({"Retry-After": value}) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "1e9", "99999999999999999999", "١٢", "1.5s", "Mon, 99 Nov 2026 12:00:00 GMT", "0x10", ","],
)
def test_a_retry_after_that_makes_no_sense_is_none(value):
    assert http.retry_after({"Retry-After": value}) is None
    assert http.retry_after({}) is None


@pytest.mark.parametrize(
    ("status", "is_trouble"),
    [(400, False), (401, True), (402, True), (403, True), (404, False), (407, True), (408, True), (410, False),
     (413, False), (422, False), (429, True), (500, True), (502, True), (503, True), (302, False)],
)  # fmt: skip
def test_which_statuses_are_the_accounts_trouble_and_pass(status, is_trouble):
    error = http.refuse(httpx.Response(status, headers={"Retry-After": "7"}), "No." * 500)
    assert (error.is_trouble, error.permanent, error.uncertain) == (is_trouble, not is_trouble, False)
    assert error.retry_after == 7
    assert str(error).startswith(f"HTTP {status}: No.")
    assert len(str(error)) < 600


def test_behind_a_proxy_that_gave_up_waiting_the_text_may_have_been_taken():
    error = http.refuse(httpx.Response(504), "Gateway Timeout")
    assert (error.is_trouble, error.permanent, error.uncertain) == (True, False, True)


def test_an_opt_out_is_nobodys_trouble_whatever_its_status():
    error = http.refuse(httpx.Response(503), "opted out", opted_out=True)
    assert (error.is_trouble, error.permanent, error.opted_out) == (False, True, True)


# --- Pages of a list ----------------------------------------------------------------------------------------

BASE = "https://api.example.com/v1/messages?page=1"


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("", ""),
        (None, ""),
        ("?page=2", "https://api.example.com/v1/messages?page=2"),
        ("/v1/messages?page=2", "https://api.example.com/v1/messages?page=2"),
        ("https://api.example.com/other", "https://api.example.com/other"),
    ],
)
def test_the_next_page_is_on_the_same_host(link, address):
    assert http.next_page(BASE, link) == address


@pytest.mark.parametrize(
    "link",
    ["https://evil.example.com/", "//evil.example.com/", "http://api.example.com/", "https://api.example.com:8443/",
     "https://api.example.com@evil.example.com/", "javascript:alert(1)", "https://[", "https://api.example.com.evil/"],
)  # fmt: skip
def test_a_next_page_elsewhere_is_not_opened(link):
    with pytest.raises(CarrierError):
        http.next_page(BASE, link)
