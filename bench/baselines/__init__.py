"""What a user would pick instead: each does the same chain, at the best setting that was found for it.

A module is the application that its workers import; `fill(n)` puts n jobs into its queue through its own API. `BENCH_REDIS` names Redis.
"""
