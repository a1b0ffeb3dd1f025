"""Is a request from the coordinator? Standard Webhooks: HMAC-SHA256 over id, time and body, with the secret that the agent registered."""

import base64
import binascii
import hashlib
import hmac
import time

from aitbc.errors import Misconfigured

TOLERANCE = 300
"""Seconds that the two clocks may differ; an older request is a replay."""
_ENCODED = "whsec_"


def key_of(secret: str) -> bytes:
    """The key inside a secret: base64 after `whsec_`, else its UTF-8 bytes; empty for none. Raises Misconfigured."""
    try:
        key = base64.b64decode(secret.removeprefix(_ENCODED), validate=True) if secret.startswith(_ENCODED) else secret.encode()
    except (binascii.Error, ValueError):
        key = b""
    if secret and not key:
        raise Misconfigured(f"an agent's secret that begins with {_ENCODED} goes on in base64")
    return key


def genuine(key: bytes, body: bytes, message_id: str, sent: str, signatures: str) -> bool:
    """Whether one of the signatures is right and the request is of now (`sent`: Unix seconds). Without a key everything is genuine."""
    if not key:
        return True
    if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    signed = f"{message_id}.{sent}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(right.encode(), one.encode()) for one in signatures.split())
