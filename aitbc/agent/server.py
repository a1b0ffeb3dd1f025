"""The HTTP side of an agent: POST /tasks/execute and GET /health over HTTP/1.1, a thread a connection."""

import json
import logging
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aitbc.agent.signature import genuine
from aitbc.agent.work import Desk, Execution, Handler, Reply, execute

log = logging.getLogger("aitbc.agent")

MAX_BODY = 4 << 20
"""Largest request body, bytes: the coordinator's own bound is 1 MiB of task and a few fields."""
IDLE = 75
"""Seconds after which a silent connection is closed."""


class AgentServer(ThreadingHTTPServer):
    """Serves one agent until `close`; knows its open connections, so that none outlives it."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], agent_id: str, desk: Desk, handler: Handler, key: bytes = b"") -> None:
        """`key` of the requests' signatures, empty: not looked at. Binds at once. Raises OSError when the port is taken."""
        self.agent_id, self.desk, self.work, self.key = agent_id, desk, handler, key
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Call)

    def server_bind(self) -> None:
        """Bind without looking up the host's name: http.server asks DNS for it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def opened(self, connection: socket.socket) -> None:
        """A connection began."""
        with self._lock:
            self.connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """A connection ended."""
        with self._lock:
            self.connections.discard(connection)

    def close(self, grace: float = 2) -> None:
        """Accept nothing more, cut the open connections, and see their threads end for at most `grace` seconds."""
        self.shutdown()
        self.server_close()
        with self._lock:
            open_ones = list(self.connections)
        for connection in open_ones:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as exc:
                log.debug("closing: %s", exc)
        end = time.monotonic() + grace
        while self.connections and time.monotonic() < end:
            time.sleep(0.01)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature is socketserver's
        """A connection broke: the coordinator hung up, which is how it cancels. Anything else is a fault of ours."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        log.log(level, "the connection from %s broke: %r", client_address, error)


class _Call(BaseHTTPRequestHandler):
    server: AgentServer
    protocol_version = "HTTP/1.1"
    server_version = "aitbc-agent"
    timeout = IDLE
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one segment

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.closed(self.connection)

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/health":
            return self._answer(Reply(404, b'{"error":"not found: GET /health"}'))
        desk = self.server.desk
        about = {"status": "healthy", "agent_id": self.server.agent_id, "running": desk.running, "max_concurrency": desk.max_concurrency}
        return self._answer(Reply(200, json.dumps(about).encode()))

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY:
            self.close_connection = True  # the body stays unread
            return self._answer(Reply(413 if size.isdecimal() else 411, b'{"error":"a Content-Length of at most 4 MiB is needed"}'))
        raw = self.rfile.read(int(size))
        if self.path.partition("?")[0] != "/tasks/execute":
            return self._answer(Reply(404, b'{"error":"not found: POST /tasks/execute"}'))
        if not genuine(self.server.key, raw, *(self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))):
            return self._answer(Reply(401, b'{"error":"the webhook-signature is not right, or too old"}'))
        return self._answer(self._execute(raw))

    def _execute(self, raw: bytes) -> Reply:
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict) or "task_data" not in body:
            return Reply(400, b'{"error":"the body must be a JSON object with task_data"}')
        key, desk = self.headers.get("Idempotency-Key", ""), self.server.desk
        refused = desk.enter(key)
        if refused:
            return refused
        reply = Reply(500, b'{"error":"the agent ended"}')
        try:
            reply = execute(self.server.work, body["task_data"], self._execution(body))
        finally:
            desk.leave(key, reply)  # before the answer leaves: the coordinator may fill the slot the moment it has it
        return reply

    def _execution(self, body: dict[str, Any]) -> Execution:
        return Execution(
            task_id=str(body.get("task_id") or self.headers.get("webhook-id", "")),
            attempt=int(_number(self.headers.get("X-Task-Attempt")) or 1),
            priority=str(body.get("priority") or "normal"),
            timeout=_number(self.headers.get("X-Task-Timeout")),
            requirements=body.get("requirements") or {},
            connection=self.connection,
            closing=self.server.desk.closing,
        )

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        if reply.retry_after:
            self.send_header("Retry-After", str(reply.retry_after))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is http.server's
        log.debug(format, *args)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
