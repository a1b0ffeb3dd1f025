"""What the room leans on inside Celery and kombu. A failure here, after an upgrade, says which file to read again."""

import hashlib
import inspect
import select

import celery
import celery.app.defaults
import celery.worker.components
import kombu
import pytest
from celery import bootsteps
from celery.app.trace import TraceInfo
from celery.concurrency.base import BasePool
from celery.events.dispatcher import EventDispatcher
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request, create_request_cls
from kombu.asynchronous import Hub
from kombu.transport import TRANSPORT_ALIASES, redis, virtual


def parameters(function):
    return list(inspect.signature(function).parameters)


def source(thing):
    return " ".join(inspect.getsource(thing).split())


def test_tested_versions():
    assert celery.__version__.startswith("5.7.")
    assert kombu.__version__.startswith("5.7.")


def test_loop_py_the_hub_sleeps_in_its_poller_which_can_be_replaced():
    hub = Hub()
    try:
        assert isinstance(hub.poller._epoll, select.epoll)
        assert parameters(hub.poller.poll) == ["timeout"]
        assert type(hub).poller.fset is not None
        body = source(Hub.create_loop)
        assert "poll = self.poller.poll" in body
        assert "poll_timeout = fire_timers(propagate=propagate) if scheduled else 1" in body
        assert "if readers or writers:" in body  # else it sleeps without the poller: the socket that is never readable prevents it
        assert "self._close_poller()" in source(Hub._close)
        assert "self._create_poller()" in source(Hub.reset)
    finally:
        hub.close()


def test_stopping_py_the_hub_runs_what_is_left_when_it_is_closed():
    assert "todos = self._pop_ready() for item in todos: item()" in source(Hub._close)
    assert parameters(Hub.run_once) == ["self"]
    # The pool is stopped before the hub is closed, both before the consumer closes its connection.
    worker = source(celery.worker.WorkController.on_stopped)
    assert "self.consumer.shutdown()" in worker
    assert "self.restart(" in source(bootsteps.Blueprint.stop)


def test_pool_py_what_the_pool_is_given():
    call = source(create_request_cls)
    assert "args=(self.type, task_id, self.request_dict, self.body, self.content_type, self.content_encoding)" in call
    for option in ("accept_callback=self.on_accepted", "timeout_callback=self.on_timeout", "callback=self.on_success"):
        assert option in call
    assert "error_callback=self.on_failure" in call
    assert "soft_timeout=soft_time_limit" in call
    assert "timeout=time_limit or default_time_limit" in call
    assert "self._apply_result = maybe(ref, result)" in call
    assert "self._request_dict['args'], self._request_dict['kwargs'], _ = self.__payload" in source(Request.__init__)
    for hook in ("on_start", "on_stop", "on_terminate", "on_apply", "register_with_event_loop", "terminate_job", "_get_info"):
        assert callable(getattr(BasePool, hook))
    options = source(celery.worker.components.Pool.create)
    for name in (
        "maxtasksperchild=",
        "max_memory_per_child=",
        "timeout=w.time_limit",
        "soft_timeout=w.soft_time_limit",
        "threads=threaded",
    ):
        assert name in options


def test_jobs_py_how_celery_decides_what_an_end_means():
    assert "_already_cancelled = True" in source(Request._announce_cancelled)
    assert "_already_cancelled" not in source(Request.terminate)
    terminate = source(Request.terminate)
    assert "else: self._terminate_on_ack = pool, signal" in terminate
    assert "obj.terminate(signal)" in terminate
    failure = source(Request.on_failure)
    assert failure.index("task_ready(self)") < failure.index("isinstance(exc, Terminated)")
    assert "if not self._already_cancelled and not self._already_revoked:" in failure
    assert "elif isinstance(exc, Ignore): return self.acknowledge()" in failure
    assert "elif isinstance(exc, Retry): return self.on_retry(exc_info)" in failure
    assert "return self.reject(requeue=exc.requeue)" in failure
    assert parameters(Request.on_accepted) == ["self", "pid", "time_accepted"]
    assert parameters(Request.on_timeout) == ["self", "soft", "timeout"]
    assert parameters(TraceInfo.handle_error_state)[:3] == ["self", "task", "req"]
    assert "_payload" in Request.__dict__


def test_consumer_py_where_celery_waits_for_the_broker():
    assert parameters(Consumer.ensure_connected) == ["self", "conn"]
    ensure = source(Consumer.ensure_connected)
    assert "callback=maybe_shutdown" in ensure
    assert "self.broker_connection_retry_attempt = 0" in ensure
    assert source(Consumer.connection_for_read).endswith("return self.ensure_connected( self.app.connection_for_read(heartbeat=heartbeat))")
    assert parameters(kombu.Connection._ensure_connection)[1:7] == [
        *("errback", "max_retries", "interval_start", "interval_step", "interval_max", "callback"),
    ]
    assert "reserved_requests.update(tuple(active_requests))" in source(Consumer.on_close)
    assert callable(state.task_reserved)
    assert "self.collect" not in source(Consumer.on_connection_error_after_connected)
    assert "self.connection.collect(" in source(Consumer.on_connection_error_after_connected)


def test_events_py_the_buffer_of_the_dispatcher():
    assert "buffer_limit" in parameters(EventDispatcher.__init__)
    assert "self._group_buffer = defaultdict(list)" in source(EventDispatcher.__init__)
    assert source(EventDispatcher.extend_buffer).endswith(
        "self._outbound_buffer.extend(other._outbound_buffer)"
    )  # the groups are left behind


def test_transport_py_what_is_cured():
    for name in ("redis", "rediss", "sentinel"):
        assert name in TRANSPORT_ALIASES
    assert issubclass(redis.QoS, virtual.QoS)
    assert parameters(redis.QoS.ack) == ["self", "delivery_tag"]
    assert parameters(redis.QoS.reject) == ["self", "delivery_tag", "requeue"]
    assert parameters(redis.QoS.restore_unacked) == ["self", "client"]
    assert parameters(redis.QoS.restore_visible) == ["self", "start", "num", "interval"]
    assert "pipe.zrem(self.unacked_index_key, delivery_tag)" in source(redis.QoS._remove_from_indices)
    assert "self._quick_ack(delivery_tag)" in source(virtual.QoS.ack)
    assert "conninfo = self.connection.client" in source(redis.Channel._connparams)  # None when the connection was collected: the crash
    assert "channel.qos.restore_visible(" in source(redis.MultiChannelPoller.on_poll_init)
    assert redis.Channel.QoS is redis.QoS
    assert redis.SentinelTransport.Channel is redis.SentinelChannel


@pytest.mark.parametrize("name", ["worker_pool", "worker_consumer", "broker_transport_options", "broker_connection_max_retries"])
def test_settings_exist(name):
    assert name in celery.app.defaults.DEFAULTS


LEANED_ON = {
    "MultiChannelPoller.on_poll_start": "5aea0325db67d72c",
    "MultiChannelPoller._update_brpop_polling": "423168cc50a42628",
    "MultiChannelPoller._register_BRPOP": "bfb24bb47d1124f2",
    "MultiChannelPoller.on_readable": "4e13d917b81f8f19",
    "MultiChannelPoller.maybe_check_brpop_health": "7f9e95d1e9b49fd6",
    "Channel._brpop_start": "cf3946b7a9c0e6d2",
    "Channel._brpop_read": "30d82b79e82ed50f",
    "Channel._on_connection_disconnect": "0970729b74c301cf",
    "Channel._do_restore_message": "4340c07dbd92da0a",
    "Channel.close": "70e926ea841aa932",
    "Channel.conn_or_acquire": "02aeb5d8755478e0",
    "Channel._put": "958bead8565a5ad6",
    "QoS.append": "7796aed4e082b7bc",
    "QoS.restore_by_tag": "5296536eafd18ad7",
}
"""What batch.py replaces or stands between, as it was when that was written."""


@pytest.mark.parametrize("name", LEANED_ON)
def test_batch_py_reads_as_kombu_does(name):
    """On a failure: read the function's new text beside batch.py, then record its digest here."""
    owner, function = name.split(".")
    text = source(getattr(getattr(redis, owner), function))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == LEANED_ON[name]
