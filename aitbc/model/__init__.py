"""The vocabulary as types: no I/O, no clock."""
