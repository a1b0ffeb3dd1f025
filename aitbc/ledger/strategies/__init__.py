"""One strategy a file: its meaning (docstring) and its load or score as a Lua expression. docs/adding-a-strategy.md."""
