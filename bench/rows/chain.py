"""The full chain of one worker process beside everything else: job, choice, lease, POST, result, acknowledgement."""

from collections.abc import Callable, Sequence
from statistics import median

from bench import peers
from bench.drain import Drain
from bench.lab import FREE, SATURATED, Lab, rates, side_by_side
from bench.load import Load
from bench.servers import Redis
from bench.table import Bar, Plot, Ratios, Result, Table, rate

WHOLE = 40.0
"""Seconds: more than a drain takes."""
NOOP = "stock Celery no-op, prefork -c 2"
HAND = "hand-written Celery chain, prefork -c 2, requests"
TASKIQ = "taskiq chain, 2 processes, streams, aiohttp"
DRAMATIQ = "dramatiq chain, 2 processes of 8 threads, requests"
LOOP = "no queue: aiohttp loop, 64 in flight"
OURS = "**full chain**, slots free"
EVENTS = "**full chain**, task events on"
FULL = "**full chain**, agents saturated"
HEAD = ("one worker process unless said", "tasks/s", "÷ no-op", "÷ hand-written", "÷ aiohttp loop", "Redis µs", "worker µs", "MiB")
NOTE = (
    "Medians over the rounds; ratios are those of each round: median (lowest–highest). µs of processor time a task; MiB of all of the "
    "worker's processes. Saturated: 60 slots for 256 places, tasks wait for slots. `appendfsync always` for all."
)


def run(lab: Lab) -> Result:
    """The main table."""
    with lab.redis() as redis:
        found = side_by_side(lab.rounds, _ours(lab, redis, events=True) | _others(lab, redis))
    result = Result([_table("Full chain", lab, found)], _bars(found), [_plot("chain", found)])
    ours, best = rates(found[OURS]), list(map(max, rates(found[TASKIQ]), rates(found[DRAMATIQ])))
    hand = Ratios.of(ours, rates(found[HAND]))
    result.bars[1:1] = [
        Bar.least("full chain ÷ hand-written Celery chain", 12, hand, 20),
        Bar.least("full chain ÷ best of the taskiq and dramatiq chains", 2, Ratios.of(ours, best)),
        Bar.least("the same with task events on", 0.75, Ratios.of(rates(found[EVENTS]), ours)),
    ]
    return result


def quick(lab: Lab) -> Result:
    """For every day: without the hand-written chain and the other queues."""
    with lab.redis() as redis:
        few = {NOOP: lambda: peers.noop(lab, redis, n=1_800), LOOP: lambda: peers.loop(lab, 10_000)}
        found = side_by_side(lab.rounds, _ours(lab, redis) | few)
    return Result([_table("Full chain, quick", lab, found)], _bars(found))


def one(lab: Lab, redis: Redis, slots: int = FREE, *options: str, processes: int = 1) -> Drain:
    """Ours on an empty Redis."""
    redis.client.flushall()
    coordinator = lab.coordinator(redis, slots=slots)
    coordinator.submit(lab.tasks)
    # Saturated: the jobs of all tasks are looked at first, and most tasks then run without one: a part of the drain would say neither.
    return lab.chain(coordinator, lab.tasks, *options, processes=processes, longest=WHOLE if slots == SATURATED else 0.0)


def _ours(lab: Lab, redis: Redis, *, events: bool = False) -> dict[str, Callable[[], Drain]]:
    variants = {OURS: lambda: one(lab, redis), FULL: lambda: one(lab, redis, SATURATED)}
    return variants | ({EVENTS: lambda: one(lab, redis, FREE, "-E")} if events else {})


def _others(lab: Lab, redis: Redis) -> dict[str, Callable[[], Drain]]:
    return {
        NOOP: lambda: peers.noop(lab, redis),
        HAND: lambda: peers.hand(lab, redis),
        TASKIQ: lambda: peers.taskiq(lab, redis),
        DRAMATIQ: lambda: peers.dramatiq(lab, redis),
        LOOP: lambda: peers.loop(lab),
    }


def _table(title: str, lab: Lab, found: dict[str, list[Drain]]) -> Table:
    alone, _ = Load(lab.agents.port, "/tasks/execute", b'{"x":1}', 64).run(0.3, 1.0)
    note = f"{NOTE} The agents' server alone answers {alone:,.0f} POSTs/s to a client that does nothing else."
    return Table(title, HEAD, [_row(name, found) for name in found], note)


def _row(name: str, found: dict[str, list[Drain]]) -> Sequence[str]:
    def against(base: str) -> str:
        return str(Ratios.of(rates(found[name]), rates(found[base]))) if base in found and base != name else ""

    def mid(values: Sequence[float]) -> str:
        return f"{median(values):,.0f}" if any(values) else ""

    drains = found[name]
    used = mid([one.redis_us for one in drains]), mid([one.worker_us for one in drains]), mid([one.rss for one in drains])
    return (name, rate(rates(drains)), *map(against, (NOOP, HAND, LOOP)), *used)


def _bars(found: dict[str, list[Drain]]) -> list[Bar]:
    ours, full = rates(found[OURS]), rates(found[FULL])
    return [
        Bar.least("full chain ÷ bare stock Celery no-op", 8, Ratios.of(ours, rates(found[NOOP])), 12),
        Bar.least("full chain ÷ bare aiohttp POST loop", 0.45, Ratios.of(ours, rates(found[LOOP])), 0.7),
        Bar.least("agents saturated ÷ slots free", 0.7, Ratios.of(full, ours), 0.9),
        Bar.most("Redis µs a task, slots free", 90, Ratios(one.redis_us for one in found[OURS]), " µs", 60),
        Bar.most("Redis µs a task, saturated", 130, Ratios(one.redis_us for one in found[FULL]), " µs", 90),
    ]


def _plot(name: str, found: dict[str, list[Drain]]) -> Plot:
    labels = [variant.replace("*", "") for variant in found]
    return Plot(name, "Full chain, appendfsync always", labels, {"": [rates(drains) for drains in found.values()]}, bars=True)
