"""The Python client of the HTTP API, on the standard library alone.

    client = Client("http://127.0.0.1:9001")
    task_id = client.tasks.submit({"text": "hello"}, priority="high")["task_id"]
    print(client.tasks.wait(task_id, timeout=30)["result"])

Answers are the API's JSON objects (docs/api.md); what the API refuses is raised as ApiError, no answer at all as Unreachable.  A client
holds no connection between calls, so threads may share one.  Proxies of the environment are not used.
"""

from collections.abc import Iterator

from aitbc.client.nouns import Agents, DeadLetters, Queues, Tasks, inner, listen, query_string
from aitbc.client.wire import Answer, ApiError, Caller, Event, Unreachable, WaitTimedOut
from aitbc.settings import client_key

__all__ = ["DEFAULT_URL", "Answer", "ApiError", "Client", "Event", "Unreachable", "WaitTimedOut"]

DEFAULT_URL = "http://127.0.0.1:9001"


class Client:
    """The coordinator at `url`; `timeout` seconds for each call (`wait` adds what it waits)."""

    def __init__(self, url: str = DEFAULT_URL, timeout: float = 10, api_key: str | None = None) -> None:
        """Connects at the first call. `api_key`: None takes that of AITBC_API_KEY or AITBC_API_KEY_FILE; empty sends none.

        Raises Invalid for a url or a key that is none, Misconfigured for a file that cannot be read.
        """
        self._caller = Caller(url, timeout, client_key() if api_key is None else api_key)
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

    def events(self, last_id: str = "") -> Iterator[Event]:
        """The end of every task, and all that becomes of watched ones, for ever. `last_id`: an event's id, to go on behind it.

        An event named `reset` means that some were lost: look for yourself.
        """
        return listen(self._caller, "/events", last_id=last_id)

    def strategy(self, name: str) -> Answer:
        """Choose how agents are scored. Raises ApiError 400 for an unknown one."""
        return self._caller.call("PUT", "/load-balancer/strategy" + query_string(strategy=name))
