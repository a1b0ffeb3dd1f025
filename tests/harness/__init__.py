"""Real parts for tests: redis-server, gunicorn, Celery workers and HTTP agents, each on a free port, each ended by its own process id."""
