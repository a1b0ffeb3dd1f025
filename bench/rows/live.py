"""Live: requests through the API while a worker completes them.

The client holds back so that at most 500 are accepted and not completed.
"""

import json
import threading
import time
from collections.abc import Callable

from bench import peers
from bench.apis import BODY, hand_live, ours_live
from bench.lab import Lab, completed
from bench.load import Load
from bench.servers import Redis, ask
from bench.table import Bar, Plot, Ratios, Result, Table, rate
from tests.harness.processes import wait_for

AHEAD, CONNECTIONS = 500, 16
WARM, SECONDS = 3.0, 5.0


def run(lab: Lab) -> Result:
    """Ours and the hand-written one, in turns."""
    names = ("aitbc: gunicorn, one worker process", "Flask + Celery, hand-written")
    accepted: dict[str, list[float]] = {name: [] for name in names}
    ended: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(lab.rounds):
        for name, live, done in zip(names, (ours_live, hand_live), (completed, peers.done), strict=True):
            with live(lab, lab.agents) as (redis, gunicorn):
                taken, finished = _through(redis, gunicorn.port, done)
            accepted[name].append(taken)
            ended[name].append(finished)
    ratio = Ratios.of(ended[names[0]], ended[names[1]])
    rows = [(name, rate(accepted[name]), rate(ended[name]), str(Ratios.of(ended[name], ended[names[1]]))) for name in names]
    table = Table("Live", ("", "accepted/s", "completed/s", "÷ hand-written"), rows, str(__doc__).partition("\n\n")[2].strip())
    bar = Bar.least("live: accepted and completed at the same rate ÷ hand-written Flask + Celery", 4, ratio)
    return Result([table], [bar], [Plot("live", "Live: completed", names, {"": [ended[name] for name in names]}, bars=True)])


def _through(redis: Redis, port: int, done: Callable[[Redis], int]) -> tuple[float, float]:
    """Accepted and completed a second."""
    ask(port, "POST", "/tasks/submit", json.loads(BODY))
    wait_for(lambda: done(redis), 60, "the first task: the worker is ready")
    seen, over = [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen[0] = done(redis)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load = Load(port, "/tasks/submit", BODY, CONNECTIONS, lambda answered: answered - seen[0] < AHEAD)
        return load.run(WARM, SECONDS, lambda: seen[0])
    finally:
        over.set()
        watcher.join()
