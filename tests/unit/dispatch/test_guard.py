"""Which addresses may be called."""

# ruff: noqa: RUF001 - odd spellings are what is tested

import socket
import threading
import time
from collections.abc import Sequence

import pytest

from aitbc.dispatch import guard as guard_module
from aitbc.dispatch.address import is_literal
from aitbc.dispatch.guard import MOST_URL, Guard, parse_url
from aitbc.dispatch.own import Target, of_settings, system_lookup
from aitbc.errors import AddressRefused, Misconfigured
from aitbc.settings import Settings
from tests.harness.processes import wait_for

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
    "169.254.170.23",
    "169.254.42.42",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "64:ff9b::168.63.129.16",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808:0:ffff:5601:5601",
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
        ("http://[v1.agent]/", "needs a host"),
        ("http://agent..example/", "needs a host"),
        ("http://[::1%lo]/", "needs a host"),
        ("http://[127.0.0.1]/", "malformed"),
        ("http:127.0.0.1", "needs a host"),
        ("http:/127.0.0.1", "needs a host"),
        ("http:///127.0.0.1", "needs a host"),
        ("http://%31%32%37.0.0.1/", "needs a host"),
        ("http://127.000.000.001/", "needs a host"),
        ("http://017700000001/", "needs a host"),
        ("http://127.0.0.1%23@agent/", "no user name"),
        ("http://agent#@127.0.0.1/", "no user name|fragment"),
        ("http://localhost\u200b/", "malformed"),
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


def test_every_address_of_a_name_must_pass(caplog: pytest.LogCaptureFixture) -> None:
    """Which one did not is told to the log alone."""
    caplog.set_level("INFO", "aitbc")
    guard_of(["8.8.8.8", "10.0.0.1"]).check_url("http://agent")
    with pytest.raises(AddressRefused, match=r"^agent: neither public nor inside AITBC_ALLOW_AGENT_CIDRS; a range listed there"):
        guard_of(["8.8.8.8", "127.0.0.1"]).check_url("http://agent")
    assert "agent has the address 127.0.0.1, which is refused: neither public" in caplog.text


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


SPELT = [  # read as an address by the one parser, and judged as such
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://127.0.0.1:８０/",
    "http://127.0.0.1?@8.8.8.8/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
]


@pytest.mark.parametrize("url", SPELT)
def test_spellings_of_loopback(url: str) -> None:
    with pytest.raises(AddressRefused, match="neither public"):
        guard_of([]).check_url(url)


@pytest.mark.parametrize(
    "url", ["http://localhost/", "http://LOCALHOST./", "http://ｌｏｃａｌｈｏｓｔ/", "http://ⓛocalhost/", "http://127.0.0.1.nip.example"]
)
def test_names_of_loopback(url: str) -> None:
    with pytest.raises(AddressRefused, match=r"^[a-z0-9.]+: neither public"):
        guard_of(["127.0.0.1"]).check_url(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "10.1.1.1", "64:ff9b::808:808", "2002:808:808::1"])
def test_denied_ranges_beat_all_others(address: str) -> None:
    guard = Guard(["10.0.0.0/8", "::/0"], hosts=["agent"], denied=["8.8.8.0/24", "10.1.0.0/16"])
    with pytest.raises(AddressRefused, match="inside AITBC_DENY_AGENT_CIDRS"):
        guard.check_address(address, "agent")
    guard.check_address("8.8.4.4")
    guard.check_address("10.2.0.1")


HOSTS = ["Agent.internal", "*.agents.example", "exact.example:9000", "10.9.9.9", "[fd00::9]:80"]


@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("http://agent.internal", True),
        ("http://AGENT.internal.:99", True),
        ("http://a.agent.internal", False),
        ("http://a.b.agents.example", True),
        ("http://agents.example", False),
        ("http://evilagents.example", False),
        ("http://exact.example:9000", True),
        ("http://exact.example:9001", False),
        ("http://10.9.9.9:1", True),
        ("http://10.9.9.8:1", False),
        ("http://[fd00::9]", True),
        ("http://[fd00::9]:81", False),
    ],
)
def test_listed_hosts(url: str, passes: bool) -> None:
    guard = Guard([], lambda _host, _port: ["192.168.1.1"], hosts=HOSTS)
    if passes:
        guard.check_url(url)
    else:
        with pytest.raises(AddressRefused, match="neither public"):
            guard.check_url(url)


def test_a_listed_host_at_a_metadata_address() -> None:
    with pytest.raises(AddressRefused, match="metadata"):
        Guard([], lambda _host, _port: ["169.254.169.254"], hosts=["agent:80"]).check_url("http://agent")


@pytest.mark.parametrize("host", ["a/b", "http://a", "*.10.0.0.1", "u@a", "a b", "::1", "*", "a:99999", "a?x", "127.1", "a/"])
def test_malformed_hosts_name_the_setting(host: str) -> None:
    with pytest.raises(Misconfigured, match="AITBC_ALLOW_AGENT_HOSTS"):
        Guard([], hosts=[host])


def test_malformed_denied_ranges_name_the_setting() -> None:
    with pytest.raises(Misconfigured, match="AITBC_DENY_AGENT_CIDRS"):
        Guard([], denied=["10.0.0.0/33"])


OWN = [Target("127.0.0.1", 9001), Target("redis", 6379), Target("api.example", 443, by_name=True), Target("10.3.3.3", 5672)]
ADDRESSES = {
    "redis": ["10.2.2.2", "fd00::2"],
    "elsewhere": ["10.2.2.2"],
    "other": ["10.4.4.4"],
    "api.example": ["8.8.8.8"],
    "same.example": ["8.8.8.8"],
}


@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("http://127.0.0.1:9001", False),
        ("http://127.9.9.9:9001", False),
        ("http://0.0.0.0:9001", False),
        ("http://[::1]:9001", False),
        ("http://[::ffff:127.0.0.1]:9001", False),
        ("http://127.0.0.1:9002", True),
        ("http://other:9001", True),
        ("http://redis:6379", False),
        ("http://REDIS.:6379", False),
        ("http://elsewhere:6379", False),
        ("http://10.2.2.2:6379", False),
        ("http://[fd00::2]:6379", False),
        ("http://[64:ff9b::a02:202]:6379", False),
        ("http://redis:6380", True),
        ("http://other:6379", True),
        ("https://api.example", False),
        ("https://same.example", True),
        ("http://10.3.3.3:5672", False),
    ],
)
def test_own_ports_are_refused_inside_an_allowed_range(url: str, passes: bool) -> None:
    guard = Guard(["0.0.0.0/0", "::/0"], lambda host, _port: ADDRESSES[host.removesuffix(".")], hosts=["redis"], own=OWN)
    if passes:
        guard.check_url(url)
    else:
        with pytest.raises(AddressRefused, match="a port of the coordinator itself"):
            guard.check_url(url)


def test_own_ports_that_are_listed_with_their_port() -> None:
    Guard([], lambda host, _port: ADDRESSES[host.removesuffix(".")], hosts=["elsewhere:6379", "127.0.0.1:9001"], own=OWN).check_url(
        "http://elsewhere:6379"
    )


def test_own_addresses_are_remembered_when_the_look_up_fails() -> None:
    known = {"redis": ["10.2.2.2"]}

    def lookup(host: str, _port: int) -> Sequence[str]:
        if host in known:
            return known[host]
        raise socket.gaierror(-2, "unknown")

    guard = Guard(["10.0.0.0/8"], lookup, own=OWN)
    for _ in range(2):
        with pytest.raises(AddressRefused, match="coordinator itself"):
            guard.check_url("http://10.2.2.2:6379")
        known.clear()


def test_what_the_coordinator_consists_of() -> None:
    settings = Settings(
        redis_url="sentinel://:pw@s1:26380,[fd00::1]/MASTER/1",
        broker_url="amqp://u:p@rabbit;amqps://Rabbit2.:7000//",
        host="0.0.0.0",
        port=0,
        public_url="https://api.example/x",
    )
    assert of_settings(settings) == [
        ("127.0.0.1", 5555, False),
        ("s1", 26380, False),
        ("fd00::1", 26379, False),
        ("rabbit", 5672, False),
        ("rabbit2", 7000, False),
        ("api.example", 443, True),
    ]


def test_as_the_settings_say(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    settings = Settings(allow_agent_cidrs="10.0.0.0/8", allow_agent_hosts="a.example, *.b.example", deny_agent_cidrs="10.1.0.0/16")
    guard = Guard.of(settings)
    assert caplog.messages == ["agents are called at public addresses and at: 10.0.0.0/8, a.example, *.b.example; never in: 10.1.0.0/16"]
    assert guard.watches(9001)
    assert guard.watches(6379)
    assert not guard.watches(9002)


def test_names_whose_server_is_silent_do_not_take_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent has ten for all look-ups of the process, and each of these is held for as long as the resolver tries."""
    monkeypatch.setattr(guard_module, "LOOKUP_TIME", 0.1)
    answer, under_way = threading.Event(), []

    def silent(host: str, _port: int) -> list[str]:
        under_way.append(host)
        answer.wait(10)
        return ["10.0.0.1"]

    guard = Guard([], silent)
    for n in range(guard_module.LOOKUPS + 3):
        guard.check_url(f"http://silent{n}.example/")  # passes, as what does not resolve: every connect checks
    assert len(under_way) == guard_module.LOOKUPS
    answer.set()
    wait_for(lambda: _refused(guard, "http://late.example/"), 5, "a thread that is free again")


def _refused(guard: Guard, url: str) -> bool:
    try:
        guard.check_url(url)
    except AddressRefused:
        return True
    return False
