"""The objects of a scope that can't be read at present. Pure.

What is repeated is not new, and the number of names that are kept is bounded: a list may hold any number of such
objects.
"""

from beacon.cluster import items

_KEPT = 1000
_SHOWN = 5


class Objects:
    """Keeps which objects are unreadable, as lines and lists show them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[str, str] = {}
        self._before: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """Return how many there are, up to the bound."""
        return len(self._found)

    @property
    def shown(self) -> list[str]:
        """The first few of them with their reasons."""
        return list(self._found.values())[:_SHOWN]

    def begin_list(self) -> None:
        """Forget them: the list that follows shows those that still are."""
        self._before = frozenset(self._found)
        self._found = {}

    def add(self, one: items.Unreadable) -> bool:
        """Take an unreadable object; return True if it was not known as one."""
        key = one.item.uid or one.name
        if key in self._found or len(self._found) >= _KEPT:
            return False
        self._found[key] = f"{one.name}: {one.why}"
        return key not in self._before

    def discard(self, item: items.Item) -> bool:
        """Take an object that is readable or gone; return True if it was unreadable."""
        return bool(self._found) and self._found.pop(item.uid, None) is not None
