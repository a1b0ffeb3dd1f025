"""tests/integration/pytest_celery once more, its nodes being containers: the image's worker, and a Redis."""

from tests.integration.pytest_celery.test_nodes import (  # noqa: F401 - the tests
    test_a_killed_broker_costs_the_worker_node_nothing,
    test_a_killed_worker_is_given_its_job_again,
    test_a_task_goes_through_the_worker_node,
)

pytest_plugins = ("pytest_celery.plugin",)
