"""Redis, and the only importer of its client: the record of every agent, task and lease, and the one atomic step of each transition.

`step.py` says what a step is, `scripts.py` loads the Lua, `client.py` (blocking, its trips shared in `convoy.py`) and `pipeline.py` run
steps; `agents`, `tasks`, `leases`, `jobs`, `queues`, `workers`, `sweep`, `strategy` hold them by noun; `doctor.py` checks the invariants.
docs/keys.md lists every key.
"""
