"""The whole Celery configuration, for the worker, inspect, control, Flower and the API alike: `celery -A aitbc.tasks worker`.

What a user may set is in aitbc/settings.py (docs/settings.md); the rest is here, each with its reason.
"""

from aitbc.settings import Settings
from aitbc.tasks.queues import queues, routes
from aitbc.worker import broker

_settings = Settings.load()

# --- broker -----------------------------------------------------------------------------------------------------------------------------
# The ledger's Redis unless CELERY_BROKER_URL moves it. Our transport serves redis:// in this process: the URL stays stock.
broker.register(_settings.broker_transport)
broker_url = _settings.effective_broker_url
if broker_url.startswith(("redis", "sentinel")):
    broker_url, broker_transport_options = broker.broker_of(broker_url)
_rabbit = broker_url.startswith(("amqp", "pyamqp"))
# RabbitMQ: a worker or a broker that is cut off is noticed in 20 s, not in Celery's 4 minutes.
broker_heartbeat = 10 if _rabbit else None
if _rabbit:
    # Seconds. Whoever publishes to a host that stopped answering must hear of it: without a limit py-amqp waits for ever.
    broker_transport_options = {"read_timeout": 3, "write_timeout": 3}
# Try for ever: a worker that gives up after 100 tries is a worker that is not there when Redis is back.
broker_connection_max_retries = None
broker_connection_retry_on_startup = True
# Long enough for a busy broker, short enough that the loop's periodic work does not stand still.
broker_connection_timeout = 2

# --- queues: strict order on Redis (docs/keys.md); RabbitMQ serves them round robin, there only the ledger's order holds -----------------
# Quorum queues outlive a node of RabbitMQ; Celery then counts what is in flight per queue (the pool keeps worker_concurrency), and would
# declare 28 queues for ETAs, which aitbc.worker.consumer leaves out.
task_queues = queues({"x-queue-type": "quorum"} if _rabbit else None)
worker_detect_quorum_queues = True
task_routes = routes
task_default_queue = "normal"
task_create_missing_queues = False

# --- messages ----------------------------------------------------------------------------------------------------------------------------
# Acknowledged when done: a job whose worker dies is delivered again, and does nothing if the ledger has moved on.
task_acks_late = True
task_reject_on_worker_lost = True
# The ledger has the results.
task_ignore_result = True
result_backend = None
task_serializer = "json"
accept_content = ["json"]
# Publishing must not hold a request: one try; the sweep makes good what was not published.
task_publish_retry = False

# --- worker ------------------------------------------------------------------------------------------------------------------------------
worker_pool = "aitbc.worker.pool:TaskPool"
worker_consumer = "aitbc.worker.consumer:Consumer"
worker_concurrency = _settings.worker_concurrency
# One message a place: strict order needs the rest to stay in the queues.
worker_prefetch_multiplier = 1
aitbc_shutdown_timeout = _settings.shutdown_timeout
# Calls in flight go on while the broker is away: their leases are the ledger's, not the broker's.
worker_cancel_long_running_tasks_on_connection_loss = False
# Task events cost a third of a worker's time: they are off until Flower runs, which switches them on at every worker, every 5 s.
worker_send_task_events = False
worker_hijack_root_logger = False
worker_redirect_stdouts = False
# Time and retries belong to the ledger: Celery's ETA, countdown and retry are not used.
