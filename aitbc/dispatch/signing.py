"""Requests signed for agents (Standard Webhooks), and agents' secrets sealed for the ledger."""

import base64
import binascii
import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aitbc.errors import Invalid, Misconfigured

SETTING = "AITBC_SECRET_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
SEALED_PREFIX = "v1:"
"""Names the format: AES-256-GCM, base64 of nonce and ciphertext."""
ENCODED_PREFIX = "whsec_"
_HOW = f"""{SETTING} is {KEY_BYTES} random bytes in base64, the same on all nodes; make one with: openssl rand -base64 {KEY_BYTES}"""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The webhook-signature of a request: `v1,` and HMAC-SHA256 over id, time (Unix seconds) and body, joined by dots.

    Raises Invalid when the secret is no secret (see `key_of`).
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + binascii.b2a_base64(hmac.digest(key_of(secret), signed, "sha256"), newline=False).decode()


def webhook_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks; an empty secret signs nothing. Raises Invalid as `sign` does."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if secret:
        headers["webhook-signature"] = sign(secret, message_id, timestamp, body)
    return headers


@lru_cache(maxsize=4096)
def key_of(secret: str) -> bytes:
    """The key inside a secret: base64 after `whsec_`, else its UTF-8 bytes.

    Raises Invalid when it is empty or not base64 where it should be; registration asks this first.
    """
    encoded = secret.startswith(ENCODED_PREFIX)
    try:
        key = base64.b64decode(secret.removeprefix(ENCODED_PREFIX), validate=True) if encoded else secret.encode()
    except (binascii.Error, ValueError):  # also text that is no UTF-8 (a lone surrogate) or no ASCII
        key = b""
    if not key:
        raise Invalid(f"a secret is not empty; after {ENCODED_PREFIX} it is base64")
    return key


class SecretBox:
    """Seals agents' secrets under AITBC_SECRET_KEY."""

    def __init__(self, key_base64: str) -> None:
        """Raises Misconfigured, saying how to make a key."""
        try:
            key = base64.b64decode(key_base64, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise Misconfigured(_HOW)
        self._cipher = AESGCM(key)

    def seal(self, text: str, agent_id: str) -> str:
        """Encrypt; bound to the agent, so that a sealed secret copied to another agent's record does not open."""
        nonce = os.urandom(NONCE_BYTES)
        return SEALED_PREFIX + base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), agent_id.encode())).decode()

    def open(self, sealed: str, agent_id: str) -> str:
        """The reverse of `seal`.

        Raises Misconfigured when it was sealed with another key, for another agent, or is damaged.
        """
        try:
            raw = base64.b64decode(sealed.removeprefix(SEALED_PREFIX), validate=True)
            nonce, ciphertext = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, ciphertext, agent_id.encode()).decode()
        except (InvalidTag, ValueError) as exc:
            raise Misconfigured(f"the secret of agent {agent_id} does not open with the {SETTING} of this node") from exc


def open_secret(box: SecretBox | None, sealed: str, agent_id: str) -> str:
    """An agent's secret in clear, empty when it has none. `box`: None on a node without a key.

    Raises Misconfigured.
    """
    if not sealed:
        return ""
    if box is None:
        raise Misconfigured(f"agent {agent_id} has a secret and this node cannot open it: {_HOW}")
    return box.open(sealed, agent_id)
