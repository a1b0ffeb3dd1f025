"""What is refused, and by which name."""

import asyncio

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from aitbc.worker import Job, current_job, events, in_flight, room, spawn, stopping
from aitbc.worker.pool import TaskPool
from aitbc.worker.refusals import check_tasks


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("maxtasksperchild", "worker_max_tasks_per_child"),
        ("max_memory_per_child", "worker_max_memory_per_child"),
        ("soft_timeout", "task_soft_time_limit"),
        ("threads", "event loop"),
    ],
)
def test_options_of_the_worker(option, setting):
    with pytest.raises(ImproperlyConfigured, match=setting):
        TaskPool(10, **{option: 5})


def test_options_that_are_not_set_are_fine():
    assert TaskPool(10, maxtasksperchild=None, soft_timeout=None, threads=False).limit == 10


@pytest.mark.parametrize("method", ["grow", "shrink"])
def test_resizing(method):
    with pytest.raises(NotImplementedError, match="worker_concurrency is fixed"):
        getattr(TaskPool(10), method)(1)


@pytest.fixture
def app():
    app = Celery("t", set_as_current=False, autofinalize=True)
    yield app
    app.close()


def test_a_hidden_coroutine(app):
    @app.task(name="hidden", shared=False, autoretry_for=(OSError,))
    async def hidden():
        pass

    with pytest.raises(ImproperlyConfigured, match="hidden: autoretry_for"):
        check_tasks(app)


def test_a_soft_limit_of_a_task(app):
    @app.task(name="soft", shared=False, soft_time_limit=3)
    async def soft():
        pass

    with pytest.raises(ImproperlyConfigured, match="soft: soft_time_limit is not supported"):
        check_tasks(app)


def test_what_is_only_warned_of(app, caplog):
    app.conf.result_backend = "cache+memory://"

    @app.task(name="plain", shared=False, time_limit=3)
    def plain():
        pass

    @app.task(name="stored", shared=False, ignore_result=False)
    async def stored():
        pass

    @app.task(name="fine", shared=False, ignore_result=True, time_limit=3)
    async def fine():
        pass

    check_tasks(app)
    text = [r.getMessage() for r in caplog.records]
    assert len(text) == 2
    assert any("plain is a plain function: its time_limit" in t for t in text)
    assert any("stored is a coroutine: its results are not stored" in t for t in text)


def test_outside_of_a_worker():
    assert Job is not None
    with pytest.raises(LookupError, match="no job here"):
        current_job()
    for function in (in_flight, room, stopping):
        with pytest.raises(RuntimeError, match=r"no aitbc\.worker\.pool runs"):
            function()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"no aitbc\.worker\.pool runs"):
        spawn(coroutine)
    coroutine.close()
    events.send("task-started", "t-1")  # no effect


def test_events_survive_a_reconnect(app):
    app.conf.broker_url = "memory://"
    with app.connection() as connection:
        old, new = (events.BulkDispatcher(connection, app=app, buffer_group=["task"], enabled=True) for _ in range(2))
        for n in range(100):
            old.send("task-started", uuid=str(n))
        new.extend_buffer(old)
        assert len(new._group_buffer["task"]) == 100
        old.close()
        new.close()
