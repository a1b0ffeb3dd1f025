"""The Python client of the HTTP API, on the standard library alone.

    client = Client("http://127.0.0.1:9001")
    task_id = client.tasks.submit({"text": "hello"}, priority="high")["task_id"]
    print(client.tasks.wait(task_id, timeout=30)["result"])

Answers are the API's JSON objects (docs/api.md); what the API refuses is raised as ApiError, no answer at all as Unreachable.  A client
holds no connection between calls, so threads may share one.  Proxies of the environment are not used.
"""

from aitbc.client.nouns import Agents, DeadLetters, Queues, Tasks, inner, query_string
from aitbc.client.wire import Answer, ApiError, Caller, Unreachable, WaitTimedOut

__all__ = ["DEFAULT_URL", "Answer", "ApiError", "Client", "Unreachable", "WaitTimedOut"]

DEFAULT_URL = "http://127.0.0.1:9001"


class Client:
    """The coordinator at `url`; `timeout` seconds for each call (`wait` adds what it waits)."""

    def __init__(self, url: str = DEFAULT_URL, timeout: float = 10) -> None:
        """Connects at the first call. Raises Invalid for a url that is none."""
        self._caller = Caller(url, timeout)
        self.url = self._caller.url
        self.agents, self.tasks = Agents(self._caller), Tasks(self._caller)
        self.queues, self.dead = Queues(self._caller), DeadLetters(self._caller)

    def health(self) -> Answer:
        """The API's process lives."""
        return self._caller.call("GET", "/health")

    def ready(self) -> Answer:
        """Redis, the broker and a worker are there. Raises ApiError 503, which says what is missing."""
        return self._caller.call("GET", "/ready")

    def stats(self) -> Answer:
        """Counts of tasks, the load balancer's state, queue sizes."""
        return inner(self._caller.call("GET", "/tasks/status"), "stats")

    def strategy(self, name: str) -> Answer:
        """Choose how agents are scored. Raises ApiError 400 for an unknown one."""
        return self._caller.call("PUT", "/load-balancer/strategy" + query_string(strategy=name))
