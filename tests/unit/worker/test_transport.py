"""The broker's URL and options."""

import subprocess
import sys

import pytest

from aitbc.worker.broker import TRANSPORT_OPTIONS, broker_of


@pytest.mark.parametrize("url", ["redis://localhost:6379/1", "rediss://u:p@h/2?ssl_cert_reqs=required", "amqp://guest@h//"])
def test_other_urls_stay_as_they_are(url):
    assert broker_of(url) == (url, TRANSPORT_OPTIONS)


@pytest.mark.parametrize(
    ("url", "broker", "master"),
    [
        ("sentinel://a:1,b:2/main/1", "sentinel://a:1/1;sentinel://b:2/1", "main"),
        ("sentinel://a/main", "sentinel://a:26379/0", "main"),
        ("sentinel://u:p%40w@a:1,b/main/3", "sentinel://u:p%40w@a:1/3;sentinel://u:p%40w@b:26379/3", "main"),
        ("sentinel://[::1]:5,[fe80::1]/main/1", "sentinel://[::1]:5/1;sentinel://[fe80::1]:26379/1", "main"),
    ],
)
def test_sentinel(url, broker, master):
    got, options = broker_of(url)
    assert got == broker
    assert options["master_name"] == master
    assert options["sentinel_kwargs"]["socket_timeout"] == 1
    assert {**TRANSPORT_OPTIONS, **options} == options


@pytest.mark.parametrize("url", ["sentinel://a:1", "sentinel:///main/1", "sentinel://a,,b/main", "sentinel://a/main/x"])
def test_sentinel_that_cannot_be_meant(url):
    with pytest.raises(ValueError, match="must be sentinel://host:port,host:port/MASTER/db"):
        broker_of(url)


def test_the_password_is_not_in_the_error():
    with pytest.raises(ValueError, match="must be") as caught:
        broker_of("sentinel://u:secret@a:1")
    assert "secret" not in str(caught.value)


def test_options_are_not_shared():
    broker_of("redis://h")[1]["visibility_timeout"] = 1
    assert TRANSPORT_OPTIONS["visibility_timeout"] == 3600


def python(code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=20)


SERVED = """
from aitbc.worker import broker, batch, transport
import kombu, sys
t = {"batch": batch, "stock": transport}[sys.argv[1]]
broker.register(sys.argv[1])
broker.register(sys.argv[1])
for url, cls in (("redis://h/1", t.Transport), ("rediss://h/1", t.Transport), ("sentinel://a:1;sentinel://b:2", t.SentinelTransport)):
    connection = kombu.Connection(url, transport_options={"master_name": "m"})
    assert connection.transport_cls == url.split(":")[0], connection.transport_cls
    assert connection.get_transport_cls() is cls
    connection.maybe_switch_next()  # a failover resolves the scheme anew
    assert connection.get_transport_cls() is cls
assert kombu.Connection("rediss://h/1").ssl
assert t.SentinelChannel.QoS is t.QoS
assert "master_name" in t.SentinelChannel.from_transport_options
"""


@pytest.mark.parametrize("name", ["batch", "stock"])
def test_register_serves_the_stock_schemes(name):
    done = python(SERVED, name)
    assert done.returncode == 0, done.stderr


def test_register_too_late_is_an_error():
    done = python("import kombu; kombu.Connection('redis://h').transport; from aitbc.worker import broker; broker.register('batch')")
    assert "RuntimeError: register() must be called before the first redis:// connection" in done.stderr


def test_publishers_do_not_load_the_loop():
    done = python("import sys, aitbc.worker.broker, aitbc.worker.batch; assert 'uvloop' not in sys.modules")
    assert done.returncode == 0, done.stderr
