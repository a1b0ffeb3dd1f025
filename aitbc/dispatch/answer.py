"""An agent's answer as it comes off the wire: parsed by llhttp (httptools), bounded in every part. No I/O.

llhttp itself bounds nothing: what it collects (a header's value, a chunk's extension) it collects for as long as bytes come.
"""

from collections.abc import Iterator, Mapping

import httptools

from aitbc.dispatch.outcome import body_decides
from aitbc.dispatch.reading import Body, Unreadable

REMARK_BYTES = 64 << 10
"""Of a body whose meaning the status alone decides."""
MOST_HEADERS = 128
MOST_HEADER_BYTES = 64 << 10
"""Of all headers together, those of interim answers and trailers too."""
MOST_LINE_BYTES = 16 << 10
"""Of one header, and of whatever else comes without saying anything."""


_FIRST, _SWITCHING, _FINAL = 100, 101, 200
"""Statuses: from _FIRST to _FINAL interim, but for one: the agent will speak something else."""


class _Surplus(Exception):
    """A second answer."""


class Headers(Mapping[str, str]):
    """By lower-case name; of repeated ones the first. Decoded when asked for, which a success never is."""

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return _text(self._raw[name.encode()])

    def __iter__(self) -> Iterator[str]:
        return map(_text, self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class Answer:
    """What has come so far of one answer. `status`: 0 until its headers are there; `body`: as far as it was read, also after an error.

    Bodies end by Content-Length, by chunks or with the connection; interim answers (1xx) are passed over.
    """

    __slots__ = (
        "_cap",
        "_count",
        "_head",
        "_headers",
        "_interim",
        "_parser",
        "_silent",
        "_until_closed",
        "body",
        "complete",
        "reusable",
        "status",
    )

    def __init__(self, cap: int) -> None:
        """`cap`: bytes of a body that counts, after decoding."""
        self.status = 0
        self.complete = False
        self.reusable = False
        """The connection is where a next answer could begin."""
        self.body = Body("", REMARK_BYTES)
        self._cap = cap
        self._headers: dict[bytes, bytes] = {}
        self._count = self._head = self._silent = 0
        self._interim = self._until_closed = False
        parser = self._parser = httptools.HttpResponseParser(self)
        # Sloppy agents are understood: odd characters in values, lines that end in \n alone, blanks after a chunk's size.
        parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the final answer."""
        return Headers(self._headers)

    @property
    def status_decides(self) -> bool:
        """The headers are there, and the body can only be a remark."""
        return self.status != 0 and not body_decides(self.status)

    def feed(self, data: bytes) -> None:
        """Take bytes off the wire; once it is complete, no more.

        Raises Unreadable and ResponseTooLarge; nothing about what comes behind the end, which only makes it not `reusable`.
        """
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.reusable = False
        except httptools.HttpParserError as exc:
            self.reusable = False
            if not self.complete:
                raise exc.__context__ or Unreadable(str(exc)) from None
        if self._silent > MOST_LINE_BYTES and not self.complete:
            raise Unreadable(f"a line of it is longer than {MOST_LINE_BYTES} bytes")

    def end(self, exc: Exception | None) -> None:
        """The connection has closed; in good order when `exc` is None, and some bodies end so.

        Raises Unreadable when this one does not, ConnectionResetError when no answer has begun.
        """
        if not self.status:
            raise ConnectionResetError("Server disconnected") from exc
        if exc is not None or not self._until_closed:
            raise Unreadable("the connection closed before its end") from exc
        self.body.finish()
        self.complete = True

    def close(self) -> None:
        """Part from the parser: each holds the other. Nothing is fed after it."""
        del self._parser

    # Called by the parser.

    def on_message_begin(self) -> None:
        """After the end: somebody sends what nobody asked for."""
        if self.complete:
            raise _Surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which means nothing here."""
        self._silent = 0
        self._count += 1
        size = len(name) + len(value) + 4
        self._head += size
        if self._count > MOST_HEADERS or size > MOST_LINE_BYTES or self._head > MOST_HEADER_BYTES or b"\0" in value:
            raise self._malformed(
                f"its headers are over {MOST_HEADERS}, {MOST_HEADER_BYTES} bytes or {MOST_LINE_BYTES} in one, or not text"
            )
        if not self.status:
            self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """The body begins, if there is one."""
        self._silent = 0
        status = self._parser.get_status_code()
        self._interim = _FIRST <= status < _FINAL and status != _SWITCHING
        if self._interim:
            self._headers.clear()
            return
        coding = self._headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise self._malformed("its transfer encoding was not asked for")
        self.status = status
        self._until_closed = coding is None and b"content-length" not in self._headers
        encoding = self._headers.get(b"content-encoding")
        self.body = Body(_text(encoding) if encoding else "", self._cap if body_decides(status) else REMARK_BYTES)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._silent = 0
        self.body.feed(data)

    def on_message_complete(self) -> None:
        """The end, of an interim answer perhaps."""
        if not self._interim:
            self.body.finish()
            self.reusable = self._parser.should_keep_alive()
            self.complete = True

    def _malformed(self, why: str) -> Unreadable:
        """The status has been read, and may decide all the same."""
        self.status = self._parser.get_status_code()
        return Unreadable(why)


def _text(raw: bytes) -> str:
    return raw.strip().decode("utf-8", "surrogateescape")


NO_ANSWER = Answer(1)
"""Where none was asked for yet. Shared: nothing is ever fed to it."""
NO_ANSWER.close()
