"""The set of objects of a scope that can't be read at present, so that each is logged once. Pure.

The set is bounded, because a list may hold any number of such objects.
"""

from beacon.cluster import items

_KEPT = 1000
_SHOWN = 5


class Objects:
    """The unreadable objects among those of watch events and lists."""

    def __init__(self) -> None:
        """Start with an empty set."""
        self._found: dict[str, str] = {}
        self._before: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """Return the number of unreadable objects, at most the bound."""
        return len(self._found)

    @property
    def shown(self) -> list[str]:
        """Return the first five unreadable objects with their reasons."""
        return list(self._found.values())[:_SHOWN]

    def begin_list(self) -> None:
        """Clear the set: the list that begins contains the objects that are still unreadable."""
        self._before = frozenset(self._found)
        self._found = {}

    def add(self, one: items.Unreadable) -> bool:
        """Add an unreadable object; return True if it was not known as unreadable before."""
        key = _key(one.item)
        if key in self._found or len(self._found) >= _KEPT:
            return False
        self._found[key] = f"{one.name}: {one.why}"
        return key not in self._before

    def discard(self, item: items.Item) -> bool:
        """Remove an object that is readable or deleted; return True if it was unreadable."""
        return bool(self._found) and self._found.pop(_key(item), None) is not None


def _key(item: items.Item) -> str:
    return item.uid or items.Unreadable(item=item, why="").name
