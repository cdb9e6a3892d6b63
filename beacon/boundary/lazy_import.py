"""Registers packages without running their code, to save memory and start-up time.

The import of a single module runs the whole `__init__` of its packages: `kubernetes.client.rest` imports an informer, a
dynamic client and OAuth. `defer` registers a package without running it. The package runs when one of its attributes is
first read, and behaves as usual from then on. `defer` must be called before the first import of the package.
"""

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

_READ_OF_ALL_MODULES = frozenset({"__cached__", "__file__", "__path__", "__warningregistry__", "__wrapped__"})
_running = threading.RLock()
_begun: set[str] = set()


def defer(*names: str) -> None:
    """Register modules whose code runs when one of their attributes is first read; parents before their children.

    Importing a submodule does not run them, not even by `from package import submodule`. A module that is already
    imported, or not installed, is left unchanged.
    """
    for name in names:
        if name in sys.modules or (spec := _found(name)) is None or spec.loader is None:
            continue
        loader = spec.loader
        spec.loader = cast(Any, _Postponed())  # importlib.abc, whose Loader it is, costs half a megabyte
        module = importlib.util.module_from_spec(spec)
        spec.loader = module.__loader__ = loader
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)


@contextlib.contextmanager
def hidden(name: str) -> Iterator[None]:
    """Make a package look as if it were not installed, while a library that can do without it is imported."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = cast(Any, None)
    try:
        yield
    finally:
        del sys.modules[name]


def deferred() -> frozenset[str]:
    """Return the names of the registered modules that have not run."""
    return frozenset(name for name, module in list(sys.modules.items()) if type(module) is _Deferred)


def _found(name: str) -> ModuleSpec | None:
    """Find a module without importing its package, unlike `importlib.util.find_spec`."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        return PathFinder.find_spec(name)
    package = _found(parent)
    return PathFinder.find_spec(name, package.submodule_search_locations) if package else None


class _Deferred(ModuleType):
    """A registered module that has not run."""

    def __getattr__(self, name: str) -> object:
        if name in _READ_OF_ALL_MODULES:
            raise AttributeError(name)
        if "__path__" in vars(self) and importlib.util.find_spec(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        with _running:
            if type(self) is _Deferred and self.__name__ not in _begun:
                _begun.add(self.__name__)
                assert self.__spec__ is not None  # noqa: S101  it was created from one
                assert self.__spec__.loader is not None  # noqa: S101
                self.__spec__.loader.exec_module(self)
                self.__class__ = cast(Any, ModuleType)
        if type(self) is _Deferred:  # requested by its own code, while it runs
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")
        return getattr(self, name)


class _Postponed:
    """A loader that creates a module without running it; replaced once the module exists."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""
