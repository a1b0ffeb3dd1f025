"""One strategy a file: its meaning (docstring) and its load as a Lua expression. docs/adding-a-strategy.md."""
