"""What keeps a worker from starting says so, by name."""

import os

import pytest
from engine_parts import until


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--autoscale=5,1"], "does not support --autoscale"),
        (["--soft-time-limit=3"], "task_soft_time_limit"),
        (["--max-tasks-per-child=3"], "worker_max_tasks_per_child"),
    ],
)
def test_refused(server, start, args, text):
    worker = start(server, ready=False, args=args)
    assert worker.process.wait(15) != 0
    assert text in worker.text()


def test_a_start_hook_that_fails(server, start):
    worker = start(server, ready=False, ENGINE_FAIL="no key")
    assert worker.process.wait(15) == 1
    assert "no key" in worker.text()
    assert not worker.notes("tick")


def test_limit_of_the_command_line(server, start, client_of):
    worker = start(server, args=["--time-limit=0.5"])
    task = client_of(server).send("slow", 30)
    until(lambda: worker.notes("slow cancelled", id=task, revoked=False))
    until(server.idle)
    assert worker.stop() == 0


def test_only_one_thread_and_no_child(server, start, client_of):
    worker = start(server)
    client = client_of(server)
    for _ in range(40):
        client.send("slow", 1)
    until(lambda: len(worker.notes("slow begins")) == 40)
    assert len(os.listdir(f"/proc/{worker.process.pid}/task")) <= 2  # noqa: PTH208
    with open(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children") as children:  # noqa: PTH123
        assert not children.read()
    assert worker.stop() == 0
