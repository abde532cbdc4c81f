"""Downloads against a server on this machine that can misbehave."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.sources import _fetch_http
from workbench.sources._fetch_http import HttpsOnly, UnreachableError, claimed, fill, opener

CONTENT = bytes(range(256)) * 4096  # one megabyte


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`, as `server.mode` says, and notes the Range of every request."""

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.seen.append((asked, self.headers.get("If-Range")))
        mode = server.modes.pop(0) if len(server.modes) > 1 else server.modes[0]
        body, start, status = server.content, 0, 200
        current = self.headers.get("If-Range") in (None, server.etag)
        if asked and mode != "no-range" and current:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        if mode == "error":
            self.send_error(503)
            return
        if mode == "redirect":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()
            return
        self.send_response(status)
        if status == 206:
            first = 7 if mode == "other-part" else start
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if mode == "page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if mode == "encoded":
            self.send_header("Content-Encoding", "gzip")
        sent = body[start:]
        if mode == "huge":
            self.send_header("Content-Length", str(10**12))
        elif mode == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif mode != "no-length":
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if mode == "chunked":
            self.wfile.write(b"%x\r\n" % len(sent) + sent[: len(sent) // 2])  # the chunk's end never comes
        elif mode == "cut":
            self.wfile.write(sent[: len(sent) // 2])
        elif mode == "longer":
            self.wfile.write(sent + b"more")
        elif mode == "stall":
            self.wfile.write(sent[:1000])
            server.released.wait(20)
        else:
            self.wfile.write(sent)

    def log_message(self, *arguments: object) -> None:
        pass


class Local:
    """An opener that leads every https address to the local server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.inner = urllib.request.build_opener(urllib.request.ProxyHandler({}), HttpsOnly())

    def open(self, fullurl: urllib.request.Request, data: None = None, timeout: float | None = None) -> object:
        fullurl.full_url = f"http://127.0.0.1:{self.port}/file"
        return self.inner.open(fullurl, timeout=timeout)


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server with modes for its next answers; the last mode stays."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.content, made.etag, made.modes, made.seen = CONTENT, '"v1"', ["plain"], []
    made.released = threading.Event()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.released.set()
    made.shutdown()
    made.server_close()
    thread.join(10)


def get(server: http.server.ThreadingHTTPServer, partial: Path, *, pinned: bool = True) -> bytes:
    """Download once; returns what is in the partial file after it."""
    mark = None if pinned else partial.with_suffix(".mark")
    with claimed(partial, Silent()) as file:
        fill("https://example.org/file", file, mark, Silent(), Local(server.server_port))
    return partial.read_bytes()


def test_a_file_is_downloaded(server, tmp_path):
    """The whole content arrives in one request."""
    assert get(server, tmp_path / "p") == CONTENT
    assert server.seen == [(None, None)]


@pytest.mark.parametrize("mode", ["no-length", "longer"])
def test_lengths_that_are_missing_or_wrong(server, tmp_path, mode):
    """Without a length the end of the connection is the end; what comes after the length is not read."""
    server.modes = [mode]
    assert get(server, tmp_path / "p") == CONTENT


def test_a_beginning_is_gone_on_from(server, tmp_path):
    """A partial file is not downloaded again."""
    (tmp_path / "p").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path / "p") == CONTENT
    assert server.seen == [("bytes=1000-", None)]


def test_a_connection_that_breaks_off_is_taken_up_again(server, tmp_path):
    """Two breaks in the middle cost two more requests, each for the rest."""
    server.modes = ["cut", "cut", "plain"]
    assert get(server, tmp_path / "p") == CONTENT
    assert [asked for asked, _ in server.seen] == [None, "bytes=524288-", "bytes=786432-"]


def test_a_connection_that_keeps_breaking_leaves_what_came(server, tmp_path):
    """After a few attempts it is an error, and the beginning stays for the next run."""
    server.modes = ["cut"]
    with pytest.raises(UnreachableError, match="the connection broke off"):
        get(server, tmp_path / "p")
    kept = (tmp_path / "p").read_bytes()
    assert len(server.seen) == 5
    assert len(kept) > 900_000
    assert CONTENT.startswith(kept)


def test_a_broken_chunk_is_no_end(server, tmp_path):
    """A chunked answer without its end is not taken for the whole file."""
    server.modes = ["chunked"]
    with pytest.raises(UnreachableError, match="the connection broke off"):
        get(server, tmp_path / "p")


def test_a_server_that_ignores_ranges_starts_over(server, tmp_path):
    """The whole file replaces the beginning that was there."""
    server.modes = ["no-range"]
    (tmp_path / "p").write_bytes(b"x" * 5000)
    assert get(server, tmp_path / "p") == CONTENT


def test_a_server_that_sends_another_part_is_asked_for_all(server, tmp_path):
    """A wrong Content-Range never lands in the middle of the file."""
    server.modes = ["other-part"]
    (tmp_path / "p").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path / "p") == CONTENT
    assert server.seen == [("bytes=1000-", None), (None, None)]


def test_a_whole_partial_file_is_whole(server, tmp_path):
    """When nothing is missing, "range not satisfiable" is a success."""
    (tmp_path / "p").write_bytes(CONTENT)
    assert get(server, tmp_path / "p") == CONTENT
    assert server.seen == [(f"bytes={len(CONTENT)}-", None)]


def test_a_partial_file_that_is_too_long_starts_over(server, tmp_path):
    """A beginning longer than the file is thrown away."""
    (tmp_path / "p").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "p") == CONTENT
    assert len(server.seen) == 2


def test_without_a_hash_only_the_same_version_is_gone_on_with(server, tmp_path):
    """Unpinned, the server's mark decides: the same version is resumed, another one replaces the beginning."""
    server.modes = ["cut", "error", "plain"]
    with pytest.raises(UnreachableError, match="503"):
        get(server, tmp_path / "p", pinned=False)
    server.seen.clear()
    server.content, server.etag = CONTENT[::-1], '"v2"'
    assert get(server, tmp_path / "p", pinned=False) == CONTENT[::-1]
    assert server.seen == [("bytes=524288-", '"v1"')]


def test_without_hash_and_mark_nothing_is_gone_on_with(server, tmp_path):
    """Unpinned and unmarked, a beginning could be of anything, so it is not used."""
    (tmp_path / "p").write_bytes(b"x" * 1000)
    assert get(server, tmp_path / "p", pinned=False) == CONTENT
    assert server.seen == [(None, None)]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("error", "the server answers 503"),
        ("page", "a web page instead of the file"),
        ("encoded", "the server gives the file encoded"),
        ("redirect", "it redirects to http, not https"),
    ],
)
def test_answers_that_are_not_the_file(server, tmp_path, mode, reason):
    """Each has its reason, and an empty beginning is not left behind."""
    server.modes = [mode]
    with pytest.raises(UnreachableError, match=reason):
        get(server, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_beginning(server, tmp_path):
    """What came in an earlier run survives a server that is down."""
    server.modes = ["error"]
    (tmp_path / "p").write_bytes(CONTENT[:1000])
    with pytest.raises(UnreachableError):
        get(server, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == CONTENT[:1000]


def test_a_server_that_stops_answering(server, tmp_path, monkeypatch):
    """Silence is an error after its time limit, and what came is kept."""
    monkeypatch.setattr(_fetch_http, "_SECONDS", 0.2)
    server.modes = ["stall", "error"]
    with pytest.raises(UnreachableError):
        get(server, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == CONTENT[:1000]


def test_a_server_that_is_not_there(server, tmp_path):
    """A refused connection is told in words, at once."""
    gone = Local(1)
    with claimed(tmp_path / "p", Silent()) as file, pytest.raises(UnreachableError, match="Connection refused"):
        fill("https://example.org/file", file, None, Silent(), gone)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("mode", ["huge", "no-length"])
def test_a_file_without_measure_is_refused(server, tmp_path, monkeypatch, mode):
    """More than the limit, declared or not, is a ToolError and leaves nothing."""
    monkeypatch.setattr(_fetch_http, "LARGEST", 100_000)
    server.modes = [mode]
    with pytest.raises(ToolError, match="more than"):
        get(server, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_the_real_opener_knows_only_https(server):
    """Plain http, local files and inline data are refused before anything is sent."""
    for url in (f"http://127.0.0.1:{server.server_port}/", "file:///etc/hostname", "data:,x", "ftp://127.0.0.1/x"):
        with pytest.raises(urllib.error.URLError, match="unknown url type"):
            opener().open(urllib.request.Request(url), timeout=1)  # noqa: S310 -- it must refuse
    assert server.seen == []


def test_strange_addresses_are_unreachable(tmp_path):
    """An address that is none is a reason, not a traceback."""
    for url in ("https://", "https://a b/", "https://127.0.0.1:x/", f"https://{'a' * 70}.org/", "https://[::/"):
        with claimed(tmp_path / "p", Silent()) as file, pytest.raises(UnreachableError):
            fill(url, file, None, Silent(), opener())


def test_a_folder_that_cannot_be_written(tmp_path):
    """A cache below a plain file is a ToolError that names it."""
    (tmp_path / "plain").write_text("")
    with pytest.raises(ToolError, match="cannot write the download"), claimed(tmp_path / "plain" / "p", Silent()):
        pass


def test_a_full_disk(server, tmp_path, monkeypatch):
    """A disk that fills up is a ToolError; /dev/full plays it."""
    with open("/dev/full", "r+b", buffering=0) as full:  # noqa: PTH123 -- unbuffered
        monkeypatch.setattr(_fetch_http, "_size", lambda _: 0)
        monkeypatch.setattr(_fetch_http, "_empty", lambda _: None)
        with pytest.raises(ToolError, match="No space left on device"):
            fill("https://example.org/file", full, None, Silent(), Local(server.server_port))


def test_a_second_process_waits_and_opens_what_is_there_then(tmp_path):
    """While one holds the file another waits; when the first moves it away, the second gets a new one."""
    order: list[str] = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with claimed(tmp_path / "p", Silent()) as file:
            order.append(f"second {file.read()!r}")

    with claimed(tmp_path / "p", Silent()) as file:
        waiting = threading.Thread(target=second)
        waiting.start()
        started.wait(10)
        file.write(b"first")
        file.flush()
        order.append("first")
        (tmp_path / "p").rename(tmp_path / "done")
    waiting.join(10)
    assert order == ["first", "second b''"]
