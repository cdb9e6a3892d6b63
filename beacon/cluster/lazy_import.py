"""Makes the packages of the official client known without running them: memory and start-up time.

A package runs its whole `__init__` even for the sake of one of its modules, and so `kubernetes.client.rest` brings an
informer, a dynamic client and OAuth. `defer` makes such a package known without running it. A package of which an
attribute is read after all is run at that moment, and from then on it is what it always was. It must happen before the
first import.
"""

import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

_READ_OF_ALL_MODULES = frozenset({"__cached__", "__file__", "__path__", "__warningregistry__", "__wrapped__"})
_running = threading.RLock()
_begun: set[str] = set()


def defer(*names: str) -> None:
    """Make modules known whose code runs when an attribute of them is first read; parents before their children.

    Their submodules can be imported without that, by `from package import submodule`, too. A module that is imported
    already, or not installed, is left as it is.
    """
    for name in names:
        if name in sys.modules or (spec := _found(name)) is None or spec.loader is None:
            continue
        loader = spec.loader
        spec.loader = cast(Any, _Postponed())  # importlib.abc, whose Loader it is, brings half a megabyte
        module = importlib.util.module_from_spec(spec)
        spec.loader = module.__loader__ = loader
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)


def deferred() -> frozenset[str]:
    """Return the names of the modules that are known and have not run."""
    return frozenset(name for name, module in list(sys.modules.items()) if type(module) is _Deferred)


def _found(name: str) -> ModuleSpec | None:
    """Find a module without importing its package, as `importlib.util.find_spec` would."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        return PathFinder.find_spec(name)
    package = _found(parent)
    return PathFinder.find_spec(name, package.submodule_search_locations) if package else None


class _Deferred(ModuleType):
    """A module that is known and has not run."""

    def __getattr__(self, name: str) -> Any:
        if name in _READ_OF_ALL_MODULES:
            raise AttributeError(name)
        if "__path__" in vars(self) and importlib.util.find_spec(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        with _running:
            if type(self) is _Deferred and self.__name__ not in _begun:
                _begun.add(self.__name__)
                assert self.__spec__ is not None  # noqa: S101  it was made of one
                assert self.__spec__.loader is not None  # noqa: S101
                self.__spec__.loader.exec_module(self)
                self.__class__ = cast(Any, ModuleType)
        if type(self) is _Deferred:  # its own code asks, while it runs
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")
        return getattr(self, name)


class _Postponed:
    """Makes a module and runs nothing; for as long as the module is made."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""
