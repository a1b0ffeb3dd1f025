"""RabbitMQ as the broker, the ledger in Redis: the full chain beside the bare no-op on the same RabbitMQ."""

from bench import peers
from bench.apis import BODY
from bench.drain import Drain
from bench.lab import CONCURRENCY, Lab, rates, side_by_side
from bench.load import Load
from bench.servers import Redis, api
from bench.table import Plot, Ratios, Result, Table, rate
from tests.harness.brokers import Rabbit

N = 3_000
NOOP, OURS = "stock no-op on RabbitMQ", "full chain, broker RabbitMQ"


def run(lab: Lab) -> Result:
    """Both."""
    rabbit = Rabbit()
    try:
        with lab.redis() as redis:
            variants = {NOOP: lambda: peers.noop(lab, redis, rabbit.url, 5_000), OURS: lambda: _chain(lab, redis, rabbit.url)}
            found = {name: rates(drains) for name, drains in side_by_side(lab.rounds, variants).items()}
    finally:
        rabbit.close()
    rows = [(name, rate(values), str(Ratios.of(values, found[NOOP]))) for name, values in found.items()]
    table = Table("RabbitMQ", ("", "tasks/s", "÷ no-op on RabbitMQ"), rows)
    return Result([table], [], [Plot("rabbit", "RabbitMQ as broker", list(found), {"": list(found.values())}, bars=True)])


def _chain(lab: Lab, redis: Redis, broker: str) -> Drain:
    """Filled through the API: jobs of RabbitMQ cannot be cloned from outside."""
    redis.client.flushall()
    coordinator = lab.coordinator(redis)
    with api(lab.folder, redis.url, CELERY_BROKER_URL=broker) as gunicorn:
        load = Load(gunicorn.port, "/tasks/submit", BODY, 8, lambda answered: answered < N)
        with redis.filling():
            while load.answered < N:
                load.run(0, 1)
    # Requests that were under way when the load ended are accepted too, and not counted: some of theirs may be granted.
    return lab.chain(coordinator, load.answered, broker=broker, held=CONCURRENCY)
