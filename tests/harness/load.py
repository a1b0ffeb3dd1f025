"""A client that goes on submitting whatever happens, and knows what it was promised."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.harness.cluster import Api


class Load(threading.Thread):
    """Submits until told to stop; `accepted`: ids answered 200. A refused or broken submit is repeated under the same id.

    `pause`: seconds between them, at random 0.5 to 1.5 times as long: clients in lockstep may always meet the same worker and agent.
    `patience`: seconds that an answer is waited for.
    """

    def __init__(self, api: Callable[[], Api], name: str = "load", pause: float = 0.005, patience: float = 20) -> None:
        super().__init__(name=name, daemon=True)
        self.api, self.accepted, self.halt, self.n, self.pause = api, list[str](), threading.Event(), 0, pause
        self.patience = patience
        self.answers: Counter[int] = Counter()  # by status; 0: none came, and `failures` says why
        self.failures: list[str] = []
        self.slowest = 0.0

    def run(self) -> None:
        while not self.halt.is_set():
            task_id, began = f"{self.name}-{self.n}", time.monotonic()
            task = {"task_data": {"n": self.n}, "task_id": task_id}
            try:
                status, _ = self.api().call("POST", "/tasks/submit", task, timeout=self.patience)
            except (OSError, ValueError) as exc:
                status = 0
                self.failures.append(repr(exc))
            self.answers[status] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status == 200:
                self.accepted.append(task_id)
                self.n += 1
            else:
                time.sleep(0.05)
            time.sleep(self.pause * random.uniform(0.5, 1.5))

    def end(self) -> list[str]:
        self.halt.set()
        self.join(30)
        return self.accepted
