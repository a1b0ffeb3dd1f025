"""aitbc: an agent coordinator that loses nothing it accepted. docs/ says what is where."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("aitbc")
except PackageNotFoundError:  # a plain checkout that nobody installed
    __version__ = "0+unknown"
