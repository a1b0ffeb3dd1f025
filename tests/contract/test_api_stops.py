"""An API that is told to stop: who has connected is answered, who comes later is refused, so no submit fails."""

import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.cluster import Cluster
from tests.harness.processes import wait_for

SUBMIT = b'POST /tasks/submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 17\r\n\r\n{"task_data": {}}'


def told_to_end(process: psutil.Process) -> bool:
    """SIGTERM waits for a frozen process to go on."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return bool(int(status["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_who_has_connected_is_answered(cluster: Cluster, processes: str) -> None:
    """Their processes are frozen while clients come, and told to stop: they find both when they go on."""
    api = cluster.api(AITBC_API_WORKERS=processes)
    workers = psutil.Process(api.process.pid).children()
    assert len(workers) == int(processes)
    for worker in workers:
        worker.suspend()
    # Of two signals that wait, the kernel takes the lower number first: SIGTERM must not come before SIGSTOP has been taken.
    wait_for(lambda: {worker.status() for worker in workers} == {psutil.STATUS_STOPPED}, 5, "them to be frozen")
    clients = [socket.create_connection(("127.0.0.1", api.port), 10) for _ in range(20)]
    for client in clients:
        client.sendall(SUBMIT)
    api.process.terminate()
    wait_for(lambda: all(told_to_end(worker) for worker in workers), 5, "SIGTERM to be passed on")
    time.sleep(1.1)  # gunicorn looks once a second whether it is to stop: now it does so before it accepts
    for worker in workers:
        worker.resume()
    answers = []
    for client in clients:
        with client, client.makefile("rb") as answer:
            answers.append(answer.readline())
    assert answers == [b"HTTP/1.1 200 OK\r\n"] * 20
    wait_for(lambda: not api.process.alive, 8, "the end")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", api.port), 1)
