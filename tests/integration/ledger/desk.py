"""What the ledger's tests share: a Redis of their own, and a desk from which steps are run and the clock is moved."""

import contextlib
import hashlib
import itertools
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from aitbc.ledger import agents, leases, scripts, sweep, tasks, workers
from aitbc.ledger.client import Ledger
from aitbc.ledger.doctor import violations
from aitbc.ledger.snapshot import Snapshot
from aitbc.ledger.step import Step, text
from aitbc.model.agent import AgentType, Registration
from aitbc.model.lease import Attempt, Grant, token_hash
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import ErrorCode, NewTask, Task
from aitbc.settings import Settings
from tests.harness.processes import free_port, redis_binary

OFFSET = "(tonumber(redis.call('GET', 'test:offset') or 0))"
MICRO = 1_000_000


class RedisServer:
    """A redis-server in a folder of its own; `kill` and `start` again on the same port and data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/1"

    def start(self) -> None:
        quiet = ("--save", "", "--bind", "127.0.0.1", "--loglevel", "warning", "--dir", str(self.folder))
        self.process = subprocess.Popen([redis_binary(), "--port", str(self.port), *quiet, *self.options], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            for _ in range(500):
                with contextlib.suppress(redis.RedisError, OSError):
                    client.ping()
                    return
                time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self, how: int = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(how)
        self.process.wait(10)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


class Desk:
    """Runs steps against one Redis. Times in seconds; `at` moves the ledger's clock."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = Settings(redis_url=url, **settings)
        self.ledger = Ledger(self.settings, offset=OFFSET)
        self.redis, self.run, self.offset = self.ledger.redis, self.ledger.run, 0.0
        self.fixed = dict(scripts.FIXED)
        self.tokens = itertools.count(1)  # threads may share it

    def close(self) -> None:
        self.ledger.close()

    def again(self, **settings: Any) -> "Desk":
        """The same Redis and clock under other settings."""
        other = Desk(self.settings.redis_url, **settings)
        other.offset = self.offset
        return other

    def constant(self, **values: int) -> None:
        """Compile other values of fixed constants into every script."""
        self.fixed |= values
        self.ledger._scripts = scripts.load(self.settings, OFFSET, self.fixed)

    # -- time
    def at(self, seconds: float) -> None:
        """Move the clock by so much."""
        self.offset += seconds
        self.redis.set("test:offset", round(self.offset * MICRO))

    def sweep(self, most: int = sweep.MOST) -> list[Grant]:
        """One whole sweep; returns the grants that need a job."""
        grants: list[Grant] = []
        for step in sweep.steps(most):
            for _ in range(1000):
                swept = self.run(step)
                grants += swept.grants
                if not swept.more:
                    break
            else:
                raise AssertionError(f"{step.script} always wants more")
        return grants

    def sweep_for_lost_jobs(self) -> list[Grant]:
        """Two sweeps, a second apart: a queued task that is still first at the second has lost its job, and those behind it too."""
        found = self.sweep()
        self.at(1)
        return found + self.sweep()

    def pass_time(self, seconds: float, *beating: str, stride: float = 2.0) -> list[Grant]:
        """Let time pass in strides, sweeping; these agents and workers (`w…`) give signs of life."""
        grants: list[Grant] = []
        while seconds > 0:
            self.at(min(stride, seconds))
            seconds -= stride
            for name in beating:
                beat: Any = workers.alive(name) if name.startswith("w") else agents.heartbeat(name)
                self.run(beat)
            grants += self.sweep()
        return grants

    # -- verbs
    def agent(self, name: str, slots: int = 1, **more: Any) -> agents.Registered:
        return self.run(agents.register(registration(name, slots, **more)))

    def task(self, name: str, **more: Any) -> tasks.Submitted:
        return self.run(tasks.submit(new_task(name, **more)))

    def token(self) -> str:
        return token_hash(f"token {next(self.tokens)}")

    def route(self, name: str, worker: str = "w1", token: str = "") -> leases.Begun:
        return self.run(leases.route(name, worker, token or self.token()))

    def begin(self, lease: str, worker: str = "w1", token: str = "") -> leases.Begun:
        return self.run(leases.begin(lease, worker, token or self.token()))

    def started(self, name: str, worker: str = "w1", **more: Any) -> "Call":
        """Submit and route a task that finds a free agent."""
        self.task(name, **more)
        return self.routed(name, worker)

    def routed(self, name: str, worker: str = "w1") -> "Call":
        token = self.token()
        attempt = self.route(name, worker, token).attempt
        assert attempt, "no free agent"
        return Call(self, attempt, worker, token)

    # -- looking
    def read(self, name: str) -> Task:
        return self.run(tasks.read(name))

    def state(self, name: str) -> str:
        return self.read(name).state.value

    def field(self, task: str, field: str) -> str:
        return text(self.redis.hget(f"task:{task}", field))

    def violations(self, *, swept: bool = True) -> list[str]:
        return violations(Snapshot(self.ledger, round(self.offset * MICRO)), swept=swept)

    def whole(self) -> dict[str, Any]:
        """Everything stored, streams apart."""
        return Snapshot(self.ledger, round(self.offset * MICRO)).data

    def places(self) -> dict[str, list[str]]:
        """Every set and sorted set of tasks and leases with its members in order, every hash of workers: the work lists, whole."""
        kept = ("tasks:", "heads", "leases", "cancelling:", "workers:")
        found = {
            key: sorted(v, key=v.__getitem__) if isinstance(v, dict) else sorted(v)
            for key, v in self.whole().items()
            if key.startswith(kept)
        }
        return {key: value for key, value in found.items() if key != "tasks:all"}


class Call:
    """A begun attempt and what proves it."""

    def __init__(self, desk: Desk, attempt: Attempt, worker: str, token: str) -> None:
        self.desk, self.attempt, self.worker, self.token, self.lease = desk, attempt, worker, token, attempt.lease_id

    def step(self, outcome: Outcome, spare: str = "") -> Step[leases.Ended]:
        return leases.finish(self.lease, self.token, outcome, worker=self.worker, spare_hash=spare)

    def ends(self, outcome: Outcome | None = None, spare: str = "") -> leases.Ended:
        return self.desk.run(self.step(outcome or DONE, spare))

    def renews(self, progress: str = "") -> leases.Renewed:
        return self.desk.run(leases.renew(self.lease, self.token, progress))


DONE = Outcome(Verdict.COMPLETED, result='{"n":1}')
FINAL = Outcome(Verdict.FINAL, code=ErrorCode.AGENT_FAILED, message="no")
COUNTED = Outcome(Verdict.COUNTED, AgentSays.BAD, code=ErrorCode.AGENT_FAILED, message="500", http_status=500)
REFUSED = Outcome(Verdict.UNSTARTED, AgentSays.BAD, code=ErrorCode.CONNECTION_FAILED, message="refused")
FORBIDDEN = Outcome(Verdict.UNSTARTED, AgentSays.ERROR, code=ErrorCode.AGENT_REFUSED, message="401", http_status=401)
LEFT = Outcome(Verdict.UNSTARTED, AgentSays.GONE, code=ErrorCode.AGENT_REFUSED, message="410", http_status=410)
NOT_SENT = Outcome(Verdict.UNSTARTED, AgentSays.NOTHING, code=ErrorCode.WORKER_STOPPED, message="not sent")
STOPPED = Outcome(Verdict.STOPPED, AgentSays.NOTHING, code=ErrorCode.WORKER_STOPPED, message="stopping")


def registration(name: str, slots: int = 1, **more: Any) -> Registration:
    fields: dict[str, Any] = {"agent_type": AgentType.WORKER, "endpoints": {"http": f"http://127.0.0.1/{name}"}, **more}
    return Registration(name, max_concurrency=slots, **fields)


def new_task(name: str, *, priority: Priority = Priority.NORMAL, needs: Requirements | None = None, **more: Any) -> NewTask:
    fields: dict[str, Any] = {"task_data": '{"list":[],"big":12345678901234567890}', "digest": f"digest of {name}", **more}
    return NewTask(name, priority=priority, requirements=needs or Requirements(), **fields)


def of_texts(texts: Mapping[str, str]) -> dict[str, scripts.Script]:
    """Scripts of these texts."""
    return {
        name: scripts.Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()) for name, text in texts.items()
    }
