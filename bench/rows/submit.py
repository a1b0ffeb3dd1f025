"""HTTP submit alone, no worker running: ours (checked, recorded, job sent; and in batches) beside Flask + apply_async on gunicorn."""

from bench.apis import BODY, GEVENT, THREADS, flask
from bench.lab import Lab
from bench.load import Load
from bench.servers import Gunicorn, Redis, api
from bench.table import Bar, Plot, Ratios, Result, Table, rate

CONNECTIONS, BATCH = 32, 100
BATCHES = b'{"tasks":[' + b",".join([BODY] * BATCH) + b"]}"
BATCHED = f"aitbc, 2 gevent workers, batches of {BATCH}"
OURS, BY_GEVENT, BY_THREADS = "aitbc, 2 gevent workers", "Flask + apply_async, 2 gevent workers", "Flask + apply_async, 2 × 8 threads"


def run(lab: Lab) -> Result:
    """Submits a second, 32 connections."""
    found: dict[str, list[float]] = {OURS: [], BY_GEVENT: [], BY_THREADS: []}
    batched: list[float] = []
    with lab.redis() as redis:
        for _ in range(lab.rounds):
            found[OURS].append(_submits(redis, api(lab.folder, redis.url)))
            batched.append(BATCH * _submits(redis, api(lab.folder, redis.url), "/tasks/submit/batch", BATCHES))
            found[BY_GEVENT].append(_submits(redis, flask(redis, *GEVENT)))
            found[BY_THREADS].append(_submits(redis, flask(redis, *THREADS)))
    best = list(map(max, found[BY_GEVENT], found[BY_THREADS]))
    rows = [(name, rate(values), str(Ratios.of(values, best))) for name, values in [*found.items(), (BATCHED, batched)]]
    table = Table("Submit", ("", "tasks/s", "÷ the better Flask of the round"), rows)
    bar = Bar.least("HTTP submit ÷ Flask + apply_async on the best-suited gunicorn worker", 2, Ratios.of(found[OURS], best))
    return Result([table], [bar], [Plot("submit", "HTTP submit", list(found), {"": list(found.values())}, "submits/s", bars=True)])


def _submits(redis: Redis, gunicorn: Gunicorn, path: str = "/tasks/submit", body: bytes = BODY) -> float:
    redis.client.flushall()
    with gunicorn:
        return Load(gunicorn.port, path, body, CONNECTIONS).run(1.0, 3.0)[0]
