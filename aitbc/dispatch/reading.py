"""Read an answer's body: streamed, decoded and bounded at once, so that neither a flood nor a gzip bomb is ever held in memory."""

import zlib

_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

ACCEPTED_ENCODINGS = "gzip, deflate"
"""What requests ask for; an answer in any other encoding is unreadable."""


class Unreadable(Exception):
    """The answer is no HTTP, over the bounds of its headers, or its body is not what they say: unknown encoding, damaged, cut off."""


class ResponseTooLarge(Exception):
    """The body is over its cap."""


class Body:
    """A body as it is read. `data` is the decoded part so far, also after an error; never more than `cap` bytes."""

    def __init__(self, encoding: str, cap: int) -> None:
        """`encoding`: the Content-Encoding header; `cap`: bytes after decoding, at least 1."""
        self.data = bytearray()
        self._encoding = encoding.strip().lower()
        self._cap = cap
        # A valid stream is hardly longer than what it holds; one that decodes to nothing must end too.
        self._raw_left = cap + cap // 64 + 1024
        self._inflate: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes from the wire, one or more.

        Raises ResponseTooLarge as soon as a byte more than the cap is known, and Unreadable.
        """
        self._raw_left -= len(chunk)
        if self._encoding in {"", "identity"}:
            self._add(chunk)
        else:
            self._decode(chunk)
        if self._raw_left < 0:
            raise ResponseTooLarge(f"the answer is larger than {self._cap} bytes")

    def finish(self) -> None:
        """The stream has ended.

        Raises Unreadable when the compressed body has not.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise Unreadable(f"the {self._encoding} body is cut off")

    def _add(self, decoded: bytes) -> None:
        room = self._cap - len(self.data)
        self.data += decoded[:room]
        if len(decoded) > room:
            raise ResponseTooLarge(f"the answer is larger than {self._cap} bytes")

    def _decode(self, chunk: bytes) -> None:
        while chunk:
            if self._inflate is None:
                self._inflate = zlib.decompressobj(self._window(chunk[0]))
            try:
                decoded = self._inflate.decompress(chunk, self._cap - len(self.data) + 1)
            except zlib.error as exc:
                raise Unreadable(f"the {self._encoding} body is damaged: {exc}") from None
            self._add(decoded)
            chunk = self._inflate.unused_data
            if chunk:  # gzip allows several members, one after the other
                self._inflate = None

    def _window(self, first: int) -> int:
        if self._encoding in {"gzip", "x-gzip"}:
            return _GZIP
        if self._encoding == "deflate":
            # By the standard it is the zlib format (low four bits of its first byte: 8); many servers send raw deflate.
            return _ZLIB if first & 0x0F == 8 else _RAW_DEFLATE
        raise Unreadable(f"the encoding {self._encoding[:40]!r} was not asked for")
