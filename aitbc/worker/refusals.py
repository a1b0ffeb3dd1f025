"""What Celery offers and this pool does not: each is refused with the name of the setting, never ignored in silence."""

from inspect import iscoroutinefunction, unwrap
from typing import Any

from celery.exceptions import ImproperlyConfigured
from celery.utils.log import get_logger

from aitbc.worker.jobs import Job

logger = get_logger("celery.pool")

# The option that Celery hands to the pool -> the setting it comes from, and what to do instead.
_OPTIONS = {
    "maxtasksperchild": "worker_max_tasks_per_child (--max-tasks-per-child): there are no child processes; unset it",
    "max_memory_per_child": "worker_max_memory_per_child (--max-memory-per-child): there are no child processes; unset it",
    "soft_timeout": "task_soft_time_limit (--soft-time-limit): use task_time_limit, which cancels the coroutine",
    "threads": "this broker's transport has no event loop, on which the pool runs; use redis:// or amqp://",
}


def check_options(options: dict[str, Any]) -> None:
    """Raise ImproperlyConfigured for the first option of the worker that the pool cannot honour."""
    for name, text in _OPTIONS.items():
        if options.get(name):
            raise ImproperlyConfigured(f"aitbc.worker.pool does not support {text}")


def check_tasks(app: Any) -> None:
    """Raise ImproperlyConfigured for a task that could not run as it is declared; warn of a part that would not."""
    for task in app.tasks.values():
        hidden = iscoroutinefunction(unwrap(task.run)) and not iscoroutinefunction(task.run)
        if hidden:
            raise ImproperlyConfigured(
                f"{task.name}: autoretry_for and other wrappers hide that it is a coroutine; raise Retry in its body"
            )
        if task.soft_time_limit:
            raise ImproperlyConfigured(f"{task.name}: soft_time_limit is not supported; use time_limit, which cancels the coroutine")
        if not iscoroutinefunction(task.run):
            if task.time_limit:
                logger.warning("%s is a plain function: its time_limit is not enforced", task.name)
        elif not task.ignore_result and app.conf.result_backend:
            logger.warning("%s is a coroutine: its results are not stored; set task_ignore_result = True", task.name)


def check_call(job: Job, options: dict[str, Any], told: set[tuple[str, str]], *, plain: bool) -> None:
    """Warn, once for each task and reason, of what a message asks for and will not get. `options` are those of apply_async."""
    name = job.task.name
    if options.get("soft_timeout"):
        _tell(told, name, "soft_time_limit is not supported: use time_limit, which cancels the coroutine")
    if plain:
        if options.get("timeout"):
            _tell(told, name, "it is a plain function: its time_limit is not enforced")
    elif any(job.request._payload[2].values()):  # noqa: SLF001  callbacks, errbacks, chain, chord: public for two of the four
        _tell(told, name, "it is a coroutine: link, link_error, chain and chord are not followed")


def _tell(told: set[tuple[str, str]], name: str, reason: str) -> None:
    if (name, reason) not in told:
        told.add((name, reason))
        logger.warning("%s: %s", name, reason)


def no_resize() -> NotImplementedError:
    """The error of pool_grow, pool_shrink and autoscale."""
    return NotImplementedError(
        "worker_concurrency is fixed while the worker runs (no pool_grow, pool_shrink, autoscale): restart with another"
    )
