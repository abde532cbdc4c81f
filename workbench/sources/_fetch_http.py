"""Download a file over https: resumable, bounded, never redirected to an address without encryption."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from workbench.engine.progress import Progress
from workbench.errors import ToolError

LARGEST = 2_000_000_000  # bytes; no network this project is for comes near it
_SECONDS = 10.0  # to connect, and between two pieces
_ATTEMPTS = 5  # each only if the one before brought something, or must start over
_CHUNK = 1 << 18


class UnreachableError(Exception):
    """The address does not give the file; the text is the reason. What arrived so far is kept."""


class Opener(Protocol):
    """The part of urllib's opener that is used."""

    def open(self, fullurl: urllib.request.Request, data: None = None, timeout: float | None = ...) -> Any:
        """Send the request and return the response."""


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https addresses only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse what is not https."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https":
            raise urllib.error.URLError(f"it redirects to {scheme or 'an address without a scheme'}, not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def opener() -> urllib.request.OpenerDirector:
    """An opener that knows https, the proxies of the environment, and nothing else: no http, file, ftp or data."""
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        HttpsOnly(),
        urllib.request.HTTPErrorProcessor(),
    ):
        made.add_handler(handler)
    return made


@contextmanager
def claimed(partial: Path, progress: Progress) -> Iterator[BinaryIO]:
    """The file to download into, for this process alone; left for the next attempt unless it is empty.

    Raises:
        ToolError: it cannot be written.
    """
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        file = _claim(partial, progress)
    except OSError as error:
        raise disk(error, partial) from error
    with file:
        try:
            yield file
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                partial.unlink(missing_ok=True)


def fill(url: str, file: BinaryIO, mark: Path | None, progress: Progress, via: Opener) -> None:
    """Download into `file` what it does not hold yet.

    Args:
        url: https.
        file: empty, or the beginning of what the address gives.
        mark: where the server's mark of this very version is kept; without a mark a beginning is not trusted. None when
            the result is checked against a hash anyway.
        progress: told kilobytes.
        via: sends the requests.

    Raises:
        UnreachableError: the address cannot be reached, or gives something else than a file.
        ToolError: the disk is full, or the file is larger than `LARGEST`; then nothing is kept.
    """
    for _ in range(_ATTEMPTS):
        before = _size(file)
        try:
            if _attempt(url, file, mark, progress, via):
                return
            reason = "the connection broke off"
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = _reason(error)
        after = _size(file)
        if after <= before and not (before and not after):  # nothing came, and nothing was thrown away to start over
            break
    raise UnreachableError(reason)


def disk(error: OSError, where: Path) -> ToolError:
    """A disk that refuses."""
    return ToolError(
        f"cannot write the download: {error.strerror or error}",
        where=str(where),
        fix="free some space, or name another folder in WORKBENCH_HOME",
    )


def _claim(partial: Path, progress: Progress) -> BinaryIO:
    """Open and lock. Another process may move the file away meanwhile; then the next one is opened."""
    while True:
        file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "r+b")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.note("waiting for another process that downloads the same file")
                fcntl.flock(file, fcntl.LOCK_EX)
            if partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _attempt(url: str, file: BinaryIO, mark: Path | None, progress: Progress, via: Opener) -> bool:
    """One request; whether the file is complete after it."""
    start = _size(file)
    known = _read_mark(mark)
    if start and mark is not None and not known:
        start = 0
    headers = {"User-Agent": "workbench", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known:
            headers["If-Range"] = known
    try:
        response = via.open(urllib.request.Request(url, headers=headers), timeout=_SECONDS)  # noqa: S310 -- https only
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:
                return _whole_already(error.headers.get("Content-Range", ""), file, start)
            raise UnreachableError(f"the server answers {error.code} {error.reason}") from error
    with response:
        kind = response.headers.get_content_type()
        if kind in ("text/html", "application/xhtml+xml"):
            raise UnreachableError("the address gives a web page instead of the file")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise UnreachableError("the server gives the file encoded")
        if response.status == 206:
            if _first(response.headers.get("Content-Range", "")) != start:
                _empty(file)  # another part than was asked for: the next attempt starts over
                return False
        elif response.status == 200:
            start = 0
            _empty(file)
            _write_mark(mark, response.headers)
        else:
            raise UnreachableError(f"the server answers {response.status} {response.reason}")
        return _receive(response, file, start, progress)


def _receive(response: Any, file: BinaryIO, start: int, progress: Progress) -> bool:
    """Append the body; whether all of it came."""
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    done = start
    _bounded(file, max(done, total or 0))
    file.seek(start)
    while chunk := response.read1(_CHUNK):
        done += len(chunk)
        _bounded(file, done)
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise disk(error, Path(str(file.name))) from error
        progress.step(done // 1000, total // 1000 if total else None, "KB")
    return total is None or done == total


def _bounded(file: BinaryIO, size: int) -> None:
    if size > LARGEST:
        _empty(file)
        raise ToolError(
            f"the file has more than {LARGEST // 10**9} GB", fix="check the address; download it by hand if it is right"
        )


def _whole_already(content_range: str, file: BinaryIO, start: int) -> bool:
    """After "range not satisfiable": nothing was missing, or what is here is no beginning of the file."""
    if content_range.replace(" ", "") == f"bytes*/{start}":
        return True
    _empty(file)
    return False


def _first(content_range: str) -> int:
    match = re.match(r"\s*bytes\s+(\d+)-", content_range)
    return int(match[1]) if match else -1


def _read_mark(mark: Path | None) -> str:
    try:
        text = mark.read_text("latin-1") if mark is not None else ""
    except OSError:
        return ""  # nothing is known of the version, so the download starts over
    return text if text.isprintable() else ""


def _write_mark(mark: Path | None, headers: Message) -> None:
    """Keep the mark of a version: a strong ETag, or else its date; If-Range takes no weak one."""
    if mark is None:
        return
    tag = headers.get("ETag", "")
    text = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    try:
        mark.write_text(text, "latin-1", "replace") if text else mark.unlink(missing_ok=True)
    except OSError as error:
        raise disk(error, mark) from error


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _reason(error: Exception) -> str:
    """In a few words, why the network failed."""
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        if isinstance(inner, OSError):
            return f"no connection: {inner.strerror or inner}"
        return f"no connection: {inner}"
    if isinstance(error, TimeoutError):
        return "the server stopped answering"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke off"
    return f"the connection failed: {error or type(error).__name__}"
