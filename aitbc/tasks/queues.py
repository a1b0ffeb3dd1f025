"""The ten Celery queues: for each priority the granted leases first, then the tasks that nobody has looked at."""

from kombu import Exchange, Queue

from aitbc.model.priority import PRIORITIES, Priority

routes = {"aitbc.route": {"queue": "normal"}, "aitbc.dispatch": {"queue": "normal.granted"}}
"""Where a job goes that was sent without a queue; `enqueue` always names one."""


def granted(priority: Priority) -> str:
    """The queue of `dispatch` jobs: a slot is held for each."""
    return f"{priority}.granted"


def names() -> list[str]:
    """In the order in which they are served: urgent.granted, urgent, critical.granted, … low."""
    return [name for priority in PRIORITIES for name in (granted(priority), priority.value)]


def queues(arguments: dict[str, str] | None = None) -> list[Queue]:
    """Each with its own exchange and routing key: bound to the default ones, a message for one lands in all ten.

    `arguments`: those of RabbitMQ.
    """
    return [Queue(name, Exchange(name, type="direct"), routing_key=name, queue_arguments=arguments) for name in names()]
