"""`python -m aitbc`."""

from aitbc.cli import main

if __name__ == "__main__":
    main(prog_name="aitbc")
