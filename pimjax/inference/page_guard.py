"""Who may talk to the page, and how much they may upload.

A page on this computer is within reach of every site that is open in its browser: one that posts to it, or whose name
is made to mean this computer (DNS rebinding). So requests must name a host that the page was started for, and come
from a page of that host.
"""

import ipaddress
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 64 << 20  # of a photo
MOST_UPLOADS = 30  # in a minute
MOST_KEPT, MOST_KEPT_BYTES = 200, 4 << 30  # uploads that are kept at once
KEPT_SECONDS, SWEEP_SECONDS = 3600, 600  # how long an upload is kept, and how often old ones are looked for
MOST_WAITING = 20  # photos that wait for their turn
_LARGEST_UPLOAD, _LARGEST_OTHER = 2 * MOST_BYTES, 1 << 20  # bytes of a request: a little too large has its own answer
_TOO_LARGE = (413, f"413: larger than {MOST_BYTES >> 20} MB; use pimjax predict")
_HERE = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")  # --host of a page for all networks of this computer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _TooLargeError(Exception):
    pass


class Guard:
    """An ASGI application in front of another: it answers 403, 413 or 429 to what must not go through."""

    def __init__(self, app: Any, host: str, allowed: Collection[str] = ()):
        """`host` is what the page is bound to, `allowed` other names that it goes by."""
        self._app = app
        self._names = {name.lower().strip("[]") for name in (*_HERE, host, *allowed)} - set(_EVERYWHERE)
        self._anywhere = host in _EVERYWHERE
        self._proxied = {name.lower() for name in allowed}
        self._uploads: deque[list[float]] = deque()  # [time, bytes] of each that is kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        fault = self._foreign(scope) or self._too_much(scope)
        if fault is None:
            try:
                await self._app(scope, self._counting(scope, receive), send)
            except _TooLargeError:
                fault = _TOO_LARGE
        if fault is None:
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        status, text = fault
        kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": text.encode()})

    def _foreign(self, scope: Scope) -> tuple[int, str] | None:
        hosts, origins = _all(scope, b"host"), _all(scope, b"origin")
        name = urlsplit(f"//{hosts[0]}").hostname if len(hosts) == 1 and _is_netloc(hosts[0]) else None
        # Where the page is for all networks, its addresses pass: what a rebound name sends is that name.
        if name is None or not (name in self._names or (self._anywhere and _is_address(name))):
            return 403, "403: this page was not started for that host; give it to pimjax serve as --allow-host NAME"
        for origin in origins:
            parts = urlsplit(origin) if "://" in origin and _is_netloc(origin.partition("://")[2]) else None
            if parts is None or (parts.netloc.lower() != hosts[0].lower() and parts.hostname not in self._proxied):
                return 403, "403: requests of other sites are not answered"
        return None

    def _too_much(self, scope: Scope) -> tuple[int, str] | None:
        if scope.get("method") != "POST":
            return None
        length = (_all(scope, b"content-length") or ["0"])[0]
        upload = _is_upload(scope)
        if not length.isdecimal() or int(length) > (_LARGEST_UPLOAD if upload else _LARGEST_OTHER):
            return _TOO_LARGE
        return self._too_many() if upload else None

    def _too_many(self) -> tuple[int, str] | None:
        """Count one more upload, unless there are too many."""
        now = time.monotonic()
        while self._uploads and self._uploads[0][0] < now - KEPT_SECONDS - SWEEP_SECONDS:
            self._uploads.popleft()
        if sum(then > now - 60 for then, _ in self._uploads) >= MOST_UPLOADS:
            return 429, f"429: more than {MOST_UPLOADS} uploads in a minute; wait, or use pimjax predict"
        if len(self._uploads) >= MOST_KEPT or sum(size for _, size in self._uploads) >= MOST_KEPT_BYTES:
            return 429, "429: too many uploads are kept; wait an hour, start the page anew, or use pimjax predict"
        self._uploads.append([now, 0])
        return None

    def _counting(self, scope: Scope, receive: Receive) -> Receive:
        """Count what comes, also where its length was not told before."""
        upload = _is_upload(scope)
        largest = _LARGEST_UPLOAD if upload else _LARGEST_OTHER
        mine = self._uploads[-1] if upload and self._uploads else [0.0, 0]
        came = 0

        async def counted() -> dict[str, Any]:
            nonlocal came
            message = await receive()
            size = len(message.get("body", b"")) if message["type"] == "http.request" else 0
            came += size
            mine[1] += size
            if came > largest:
                raise _TooLargeError
            return message

        return counted


def _is_upload(scope: Scope) -> bool:
    return scope.get("method") == "POST" and scope["path"].rstrip("/").endswith("/upload")


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _is_netloc(text: str) -> bool:
    """Return whether it is HOST or HOST:PORT, and no more."""
    try:
        parts = urlsplit(f"//{text}")
        return parts.netloc == text and parts.username is None and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
