"""Random walks over the real Lua: `python -m tests.properties.walk SECONDS [FIRST SEED]` prints every violation once, with its trace.

A walk: events of chance with every invariant checked after each; then faults stop and everything must become terminal; then everything is
trimmed and no key of a task may be left.  A seed is a walk: it can be walked again (but the ledger's clock runs on real time too).
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from aitbc.ledger import agents
from aitbc.model.task import TERMINAL
from tests.integration.ledger.desk import DONE, RedisServer
from tests.properties.events import EVENTS, answer, job, late, pause, post
from tests.properties.world import AGENTS, World

STEPS = (20, 60, 150)
LINES = 60
"""Of a trace that are shown."""
PATIENCE = 400
"""Rounds of 2 s after which everything must have ended."""
OURS = ("callbacks:", "task:", "tasks:", "lease", "idempotency:", "heads", "sig", "cancelling", "workers:suspects")
KEPT = ("tasks:events",)


def walk(url: str, seed: int, *, steps: int | None = None) -> World:
    """One whole walk; look at its `bad` and `trace`."""
    world = World(url, seed)
    try:
        _wander(world, steps or world.random.choice(STEPS))
        if not world.bad:
            _settle_down(world)
        if not world.bad:
            _trim(world)
    except Exception as exc:  # a broken script is a finding like another
        world.violation(f"{type(exc).__name__}: {exc}"[:300])
    world.ledger.close()
    return world


def _wander(w: World, steps: int) -> None:
    for _ in range(steps):
        w.swept = False  # an event that sweeps sets it
        w.random.choices(list(EVENTS), list(EVENTS.values()))[0](w)
        w.check()
        if w.bad:
            return


def _settle_down(w: World) -> None:
    """Faults stop: everything must become terminal."""
    w.log("--- faults stop")
    w.faulty = False
    for rank in sorted(w.paused):
        pause(w, rank)
    for name in AGENTS:
        w.register(name, whole=True)
        w.granted(w.do(agents.resume(name), lossy=False))
    for worker in w.workers.values():
        worker.frozen_until = float("-inf")
    for turn in range(PATIENCE):
        w.at(2)
        w.beat()
        w.sweep()
        _serve(w)
        if turn % 20 == 0:
            w.check()
        live = [name for name in w.accepted if w.state(name) not in {*TERMINAL, "trimmed"}]
        if w.bad or (not live and not w.redis.exists("leases")):
            break
        if turn % 100 == 99 and {w.state(name) for name in live} == {"scheduled"}:
            w.at(3600)  # the clock was set back: what was due at a time comes later
    else:
        w.violation(f"L1 never terminal: {[(n, w.redis.hgetall(f'task:{n}')) for n in live][:2]}; {w.redis.zrange('leases', 0, -1)}")
    w.swept = True
    w.check()


def _serve(w: World) -> None:
    """Every worker and agent does what it should."""
    for _ in range(12):
        job(w)
    for call in list(w.calls):
        if call.worker in w.up() and call in w.calls:
            if call.phase == "begun":
                post(w, call)
            answer(w, call, "ok")
    for call in list(w.held):
        w.held.remove(call)
        w.end(call, DONE, callback=True)
    while any(item.worker in w.up() for item in w.late):
        late(w)


def _trim(w: World) -> None:
    """A day later nothing of the tasks is left."""
    w.ends = Counter(w.state(name) for name in w.accepted)
    for seconds in (90_000 + w.set_back, 1, 700, 1, 1):  # what ended before the clock was set back is kept that much longer
        w.at(seconds)
        w.beat()
        w.sweep()
    w.check()
    left = [key.decode() for key in w.redis.scan_iter() if key.decode().startswith(OURS) and key.decode() not in KEPT]
    if left:
        w.violation(f"left behind: {left}")


def main(seconds: float, seed: int = 0) -> int:
    until, walks, lines = time.monotonic() + seconds, 0, 0
    seen: dict[str, int] = {}
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            while time.monotonic() < until and len(seen) < 6:
                world = walk(server.url, seed)
                walks, lines, ends = walks + 1, lines + len(world.trace), ends + world.ends
                if world.bad:
                    kind = " ".join(world.bad[0].split()[:2])
                    if kind not in seen:
                        seen[kind] = seed
                        print(f"## seed {seed} ({world.variant}): {world.bad[:3]}", *world.trace[-LINES:], sep="\n", flush=True)
                    ends[f"VIOLATION {kind}"] += 1
                seed += 1
        finally:
            server.close()
    print(f"walks {walks}, lines {lines}, next seed {seed}: {dict(ends)}")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *map(int, sys.argv[2:])))
