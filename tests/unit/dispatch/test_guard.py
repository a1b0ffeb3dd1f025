"""Which addresses may be called."""

import socket
import time
from collections.abc import Sequence

import pytest

from aitbc.dispatch import guard as guard_module
from aitbc.dispatch.guard import MOST_URL, Guard, is_literal, parse_url, system_lookup
from aitbc.errors import AddressRefused, Misconfigured

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.1", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"]
DENIED = [
    "127.0.0.1",
    "127.255.255.255",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    Guard([]).check_address(address)


@pytest.mark.parametrize("address", DENIED)
def test_others_do_not(address: str) -> None:
    with pytest.raises(AddressRefused, match="AITBC_ALLOW_AGENT_CIDRS"):
        Guard([]).check_address(address)


@pytest.mark.parametrize("address", [a for a in DENIED if not a.startswith("::ffff:")])
def test_others_pass_when_listed(address: str) -> None:
    Guard([address]).check_address(address)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_addresses_never_pass(address: str) -> None:
    with pytest.raises(AddressRefused, match="metadata"):
        Guard(["0.0.0.0/0", "::/0"]).check_address(address)


def test_mapped_addresses_are_judged_as_ipv4() -> None:
    Guard(["10.0.0.0/8"]).check_address("::ffff:10.1.2.3")
    with pytest.raises(AddressRefused):
        Guard(["::/0"]).check_address("::ffff:10.1.2.3")


def test_ranges_of_one_family_do_not_cover_the_other() -> None:
    with pytest.raises(AddressRefused):
        Guard(["127.0.0.0/8"]).check_address("::1")


@pytest.mark.parametrize("text", ["", "agent", "127.1", "1.2.3.4.5", "01.2.3.4"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressRefused, match="not an IP address"):
        Guard(["0.0.0.0/0"]).check_address(text)


@pytest.mark.parametrize("cidr", ["10.0.0.0/33", "10.0.0.1/8", "agents", "10.0.0.0/8;fd00::/8"])
def test_malformed_ranges_name_the_setting(cidr: str) -> None:
    with pytest.raises(Misconfigured, match=r"AITBC_ALLOW_AGENT_CIDRS: .*like 10\.0\.0\.0/8"):
        Guard([cidr])


GOOD_URLS = [
    "http://agent",
    "https://agent:8443/run?x=1",
    "http://my_agent.svc.cluster.local:80/",
    "http://8.8.8.8/",
    "http://[2606:4700::1]:9000",
    "HTTP://AGENT.example.",
    "http://exämple.org",
    "http://4chan.org",
    "http://a.1b",
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_urls_that_can_be_read(url: str) -> None:
    assert parse_url(url).raw_host


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "begins with http"),
        ("agent:9000", "begins with http"),
        ("ftp://agent", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("//agent/x", "begins with http"),
        ("http://", "malformed|needs a host"),
        ("http:///x", "needs a host"),
        ("http://user@agent", "no user name"),
        ("http://user:password@agent", "no user name"),
        ("http://:password@agent", "no user name"),
        ("http://agent/#f", "fragment"),
        ("http://agent/#", "fragment"),
        ("http://agent:0", "port from 1"),
        ("http://agent:65536", "malformed"),
        ("http://agent:http", "malformed"),
        ("http://age nt", "no blanks"),
        ("http://agent\r\nX: y", "no blanks"),
        ("http://agent\\@other", "backslashes"),
        ("http://[::1", "malformed"),
        ("http://[fe80::1%25eth0]/", "needs a host"),
        ("http://a%2fb/", "needs a host"),
        ("http://-agent/", "needs a host"),
        ("http://" + "a." * 127 + "b", "needs a host"),
        ("http://127.1/", "needs a host"),
        ("http://2130706433/", "needs a host"),
        ("http://0x7f000001/", "needs a host"),
        ("http://0177.0.0.1/", "needs a host"),
        ("http://127.0.0.0x1/", "needs a host"),
        ("http://127.0.0.1./", "needs a host"),
        ("http://agent.5/", "needs a host"),
        ("http://agent/" + "x" * MOST_URL, "at most 2048"),
    ],
)
def test_urls_that_cannot(url: str, says: str) -> None:
    with pytest.raises(AddressRefused, match=says) as refused:
        Guard(["0.0.0.0/0", "::/0"]).check_url(url)
    assert "password@" not in str(refused.value)


def guard_of(addresses: Sequence[str]) -> Guard:
    return Guard(["10.0.0.0/8"], lookup=lambda _host, _port: addresses)


@pytest.mark.parametrize("url", ["http://8.8.8.8", "http://10.1.1.1:5", "http://[2606:4700::1]"])
def test_literal_addresses_pass(url: str) -> None:
    guard_of([]).check_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://[::1]:5", "http://169.254.169.254/latest", "http://[::ffff:7f00:1]"])
def test_literal_addresses_refused(url: str) -> None:
    with pytest.raises(AddressRefused, match="AITBC_ALLOW_AGENT_CIDRS"):
        guard_of([]).check_url(url)


def test_every_address_of_a_name_must_pass() -> None:
    guard_of(["8.8.8.8", "10.0.0.1"]).check_url("http://agent")
    with pytest.raises(AddressRefused, match=r"agent has the address 127\.0\.0\.1: neither public nor inside AITBC_ALLOW_AGENT_CIDRS"):
        guard_of(["8.8.8.8", "127.0.0.1"]).check_url("http://agent")


def test_a_name_that_does_not_resolve_passes() -> None:
    def lookup(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "unknown")

    Guard([], lookup=lookup).check_url("http://agent")


def test_a_slow_name_passes_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "LOOKUP_TIME", 0.1)

    def lookup(_host: str, _port: int) -> Sequence[str]:
        time.sleep(0.5)
        return ["127.0.0.1"]

    started = time.monotonic()
    Guard([], lookup=lookup).check_url("http://agent")
    assert 0.09 < time.monotonic() - started < 0.4


def test_system_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        assert (host, port) == ("agent", 5)
        return [(2, 1, 6, "", ("10.0.0.1", 5)), (2, 2, 17, "", ("10.0.0.1", 5)), (10, 1, 6, "", ("::1", 5, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert system_lookup("agent", 5) == ["10.0.0.1", "::1"]


def test_system_lookup_of_what_is_no_name() -> None:
    with pytest.raises(OSError, match="not a host name"):
        system_lookup("a" * 64 + "ä", 5)


def test_is_literal() -> None:
    assert is_literal("10.0.0.1")
    assert is_literal("::1")
    assert not is_literal("agent")
