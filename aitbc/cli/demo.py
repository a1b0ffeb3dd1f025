"""The demo of `aitbc up --demo`: three agents that count words, and one task through them."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from aitbc.agent import Agent
from aitbc.errors import AitbcError

TEXT = "the ledger is the truth, a job is a nudge"
CAPABILITIES = ("general", "analysis", "data-processing")
SERVICES = ("task-execution",)
HEARTBEAT_TIMEOUT = 15
"""Seconds: short, because demo agents come and go with `aitbc up`."""
PATIENCE = 60
"""Seconds for the agents to register, and again for the task to end."""


def count_words(task_data: Any) -> dict[str, Any]:
    """The work: count the words of every text in the task's data."""
    words = [word for text in texts(task_data) for word in text.split()]
    return {"words": len(words), "longest": max(words, key=len, default="")}


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def run_task(url: str, agents: list[str], stopping: threading.Event, api_key: str = "") -> dict[str, Any]:
    """Wait for the agents, send one task, and return it when it has ended, as the API tells it.

    Raises AitbcError when the API refuses or the task takes too long; returns {} when stopped meanwhile.
    """
    from aitbc.client import ApiError, Client

    client, end = Client(url, api_key=api_key), time.monotonic() + PATIENCE
    for agent_id in agents:
        while not stopping.is_set():
            try:
                if client.agents.show(agent_id)["status"] == "active":
                    break
            except ApiError as exc:
                if exc.status != 404:
                    raise
            if time.monotonic() > end:
                raise AitbcError(f"agent {agent_id} has not registered in {PATIENCE} s")
            stopping.wait(0.1)
    if stopping.is_set():
        return {}
    answer = client.tasks.submit({"text": TEXT}, "high", requirements={"capabilities": ["data-processing"], "services": list(SERVICES)})
    return client.tasks.wait(answer["task_id"], PATIENCE)


def main() -> None:
    """`python -m aitbc.cli.demo NAME PORT COORDINATOR [HOST]`: one demo agent; with HOST it serves all addresses and is reached so."""
    name, port, coordinator, *reached_as = sys.argv[1:5]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    about: dict[str, Any] = {"capabilities": CAPABILITIES, "services": SERVICES, "heartbeat_timeout": HEARTBEAT_TIMEOUT}
    if reached_as:
        about |= {"host": "0.0.0.0", "public_url": f"http://{reached_as[0]}:{port}"}
    try:
        Agent(name, coordinator, count_words, port=int(port), **about).run(grace=0.5)
    except AitbcError as exc:
        sys.exit(f"ERROR {exc}")


if __name__ == "__main__":
    main()
