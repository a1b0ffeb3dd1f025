"""What a process remembers, within a bound."""

from collections import OrderedDict
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Bounded(OrderedDict[Key, Value]):
    """A dict of at most `most` entries (1 or more): beyond, what was written longest ago goes. Threads and greenlets may share it."""

    def __init__(self, most: int) -> None:
        """Empty."""
        super().__init__()
        self.most = most

    def __setitem__(self, key: Key, value: Value) -> None:
        """Write an entry; it is the youngest, also when it was there before."""
        self.pop(key, None)
        super().__setitem__(key, value)
        while len(self) > self.most:
            self.popitem(last=False)
