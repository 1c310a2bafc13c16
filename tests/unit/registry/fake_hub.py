"""A server with the hub's layout: `/api/models/ID/revision/REV` and `/ID/resolve/COMMIT/FILE`, with ranges."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "89abcdef0123456789abcdef0123456789abcdef"


class FakeHub:
    """One repository, org/name; `main` is `commit`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commit = COMMIT
        self.requests: list[tuple[str, str]] = []
        """Path, and the range that was asked for."""
        self.tokens: set[str] = set()
        self.break_after: int | None = None
        """Bytes after which the next large answer breaks off."""
        self.told_hash = ""
        self.redirect_to: str | None = None
        """Another server that has the files."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fetched(self) -> list[str]:
        return [
            path.rpartition("/resolve/")[2].partition("/")[2]
            for path, _ in self.requests
            if "/resolve/" in path
        ]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path.partition("?")[0])
        self.requests.append((path, request.headers.get("Range", "")))
        self.tokens.add(request.headers.get("Authorization", ""))
        if path.startswith("/api/models/org/name/revision/"):
            self._tell(request, path.rpartition("/")[2])
        elif path.startswith("/org/name/resolve/") and self.redirect_to is not None:
            self._head(request, 302, 0, {"Location": f"{self.redirect_to}{request.path}"})
        elif path.startswith(f"/org/name/resolve/{self.commit}/"):
            self._send(request, self.files[path.partition(f"/{self.commit}/")[2]])
        else:
            self._refuse(request, "RepoNotFound")

    def _tell(self, request: BaseHTTPRequestHandler, revision: str) -> None:
        if revision not in {"main", self.commit}:
            self._refuse(request, "RevisionNotFound")
            return
        siblings = [self._sibling(name, content) for name, content in self.files.items()]
        body = json.dumps({"id": "org/name", "sha": self.commit, "siblings": siblings}).encode()
        self._head(request, 200, len(body), {"Content-Type": "application/json"})
        request.wfile.write(body)

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"rfilename": name, "size": len(content)}
        if name.endswith(".safetensors"):
            digest = self.told_hash or hashlib.sha256(content).hexdigest()
            found["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 100}
        return found

    def _send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        more = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": self.commit}
        if begin:
            more["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._head(request, 206 if begin else 200, len(content) - begin, more)
        if self.break_after is not None and len(content) - begin > self.break_after:
            request.wfile.write(content[begin : begin + self.break_after])
            self.break_after = None
            request.close_connection = True
            return
        request.wfile.write(content[begin:])

    def _refuse(self, request: BaseHTTPRequestHandler, code: str) -> None:
        self._head(request, 404, 0, {"X-Error-Code": code, "X-Error-Message": "foreign words"})

    def _head(self, request: BaseHTTPRequestHandler, status: int, length: int, more: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in (more | {"Content-Length": str(length)}).items():
            request.send_header(name, value)
        request.end_headers()
