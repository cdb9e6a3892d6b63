"""Libraries without what they import beside what Beacon uses of them: memory and start-up time, seven times over.

A package runs its whole `__init__` even for the sake of one of its modules, and so `kubernetes.client.rest` brings an
informer, a dynamic client and OAuth. `unrun` makes such a module known without running it. That is safe to do to any
module: one of which something is asked after all is run at that moment, and from then on it is what it always was. It
must happen before the first import. Nothing here knows which libraries there are.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

_ASKED_OF_ALL = frozenset({"__cached__", "__file__", "__path__", "__warningregistry__", "__wrapped__"})
_running = threading.RLock()
_begun: set[str] = set()


def unrun(*names: str) -> None:
    """Make modules known whose code runs when something is first asked of them; parents before their children.

    Their submodules can be imported without that, by `from package import submodule`, too. What is imported already, or
    not installed, is left as it is.
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


def unrun_modules() -> frozenset[str]:
    """Name the modules that are known and have not run."""
    return frozenset(name for name, module in list(sys.modules.items()) if type(module) is _Unrun)


def later(module: str, name: str) -> Callable[..., Any]:
    """Stand for a class or a function of a module that is imported when it is called."""

    def call(*arguments: Any, **more: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **more)

    return call


@contextmanager
def standing_in(modules: Mapping[str, Mapping[str, Any] | None]) -> Iterator[None]:
    """Let others stand in for modules within this block: what is imported meanwhile gets these names from them.

    None: as if it were not installed.
    """
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update({name: _made(name, content) for name, content in modules.items()})  # type: ignore[misc]
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _found(name: str) -> ModuleSpec | None:
    """Find a module without importing its package, as `importlib.util.find_spec` would."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        return PathFinder.find_spec(name)
    package = _found(parent)
    return PathFinder.find_spec(name, package.submodule_search_locations) if package else None


def _made(name: str, content: Mapping[str, Any] | None) -> ModuleType | None:
    if content is None:
        return None  # an import of it fails
    module = ModuleType(name)
    module.__dict__.update(content)
    return module


class _Unrun(ModuleType):
    """A module that is known and has not run."""

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED_OF_ALL:
            raise AttributeError(name)
        if "__path__" in vars(self) and importlib.util.find_spec(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        with _running:
            if type(self) is _Unrun and self.__name__ not in _begun:
                _begun.add(self.__name__)
                assert self.__spec__ is not None  # noqa: S101  it was made of one
                assert self.__spec__.loader is not None  # noqa: S101
                self.__spec__.loader.exec_module(self)
                self.__class__ = cast(Any, ModuleType)
        if type(self) is _Unrun:  # its own code asks, while it runs
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")
        return getattr(self, name)


class _Postponed:
    """Makes a module and runs nothing; for as long as the module is made."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Unrun(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""
