"""Signatures as Standard Webhooks writes them, and sealed secrets."""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable

import pytest

from aitbc.dispatch.signing import SecretBox, key_of, open_secret, sign
from aitbc.errors import Invalid, Misconfigured

KEY = base64.b64encode(bytes(range(32))).decode()


def test_the_published_example() -> None:
    """From the Standard Webhooks specification's own test vectors."""
    signature = sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_plain_secret_is_its_bytes() -> None:
    expected = hmac.new("pässword".encode(), b"t.5.{}", hashlib.sha256).digest()
    assert sign("pässword", "t", 5, b"{}") == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_abc", "whsec_ä", "\ud800"])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(Invalid, match="whsec_"):
        key_of(secret)


def test_sealed_and_opened() -> None:
    box = SecretBox(KEY)
    sealed = box.seal("geheim ✓", "agent-1")
    assert sealed.startswith("v1:")
    assert "geheim" not in sealed
    assert SecretBox(KEY).open(sealed, "agent-1") == "geheim ✓"
    assert sealed != box.seal("geheim ✓", "agent-1")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _box, sealed: (SecretBox(base64.b64encode(os.urandom(32)).decode()), sealed, "a"),
        lambda box, sealed: (box, sealed, "b"),
        lambda box, sealed: (box, sealed[:-6] + "AAAA==", "a"),
        lambda box, _sealed: (box, "v1:", "a"),
        lambda box, _sealed: (box, "v1:AAAA", "a"),
        lambda box, _sealed: (box, "v2:%%%", "a"),
    ],
)
def test_what_does_not_open(spoil: Callable[[SecretBox, str], tuple[SecretBox, str, str]]) -> None:
    box = SecretBox(KEY)
    opener, sealed, agent_id = spoil(box, box.seal("x", "a"))
    with pytest.raises(Misconfigured, match="AITBC_SECRET_KEY"):
        opener.open(sealed, agent_id)


@pytest.mark.parametrize(
    "key", ["", "short", base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode(), "ä" * 44, KEY + "!"]
)
def test_a_bad_key_says_how_to_make_one(key: str) -> None:
    with pytest.raises(Misconfigured, match=r"AITBC_SECRET_KEY is 32 random bytes in base64.*openssl rand -base64 32"):
        SecretBox(key)


def test_open_secret() -> None:
    box = SecretBox(KEY)
    assert open_secret(None, "", "a") == ""
    assert open_secret(box, box.seal("s", "a"), "a") == "s"
    with pytest.raises(Misconfigured, match="AITBC_SECRET_KEY"):
        open_secret(None, box.seal("s", "a"), "a")
