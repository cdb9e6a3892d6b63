"""The option `--endpoint`: one of the endpoints that the store knows, or the only configured one."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from beacon import bus, errors, wire
from beacon.runtime import run_directory

_TIMEOUT_S = 5.0
_COMPLETION_TIMEOUT_S = 1.0

_Command = TypeVar("_Command", bound=Callable[..., object])


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the known endpoints that begin with a text; none if the store does not answer at once."""
    try:
        with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
            known = client.try_call(wire.Inspect(), timeout_s=_COMPLETION_TIMEOUT_S).endpoints
    except errors.BeaconError:
        return []
    return [CompletionItem(one.endpoint) for one in known if one.endpoint.startswith(incomplete)]


def option(text: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the option, as parameter `endpoint`; "" if it is not given."""
    return click.option("--endpoint", default="", metavar="NAME", shell_complete=_complete, help=text)


def known(client: bus.Client) -> tuple[wire.EndpointStatistics, ...]:
    """Return the endpoints that the ledger knows, with the removed ones.

    Raises:
        errors.TransientError: the store does not answer.
    """
    return client.try_call(wire.Inspect(), timeout_s=_TIMEOUT_S).endpoints


def configured(client: bus.Client) -> list[str]:
    """Return the names of the endpoints that are configured.

    Raises:
        errors.TransientError: the store does not answer.
    """
    return [one.endpoint for one in known(client) if not one.removed_us]


def are_several(client: bus.Client, chosen: str) -> bool:
    """Return True if the ledger knows several endpoints, so that an output must name the endpoint.

    Raises:
        click.UsageError: there is no endpoint of the chosen name.
        errors.TransientError: the store does not answer.
    """
    names = [one.endpoint for one in known(client)]
    check(chosen, names)
    return len(names) > 1


def check(name: str, names: Sequence[str]) -> None:
    """Raise an error that lists the names, if the given one is neither "" nor one of them.

    Raises:
        click.UsageError: there is no such endpoint.
    """
    if name and name not in names:
        raise click.UsageError(f"no endpoint {name!r} is known: the endpoints are {', '.join(sorted(names))}")


def only(name: str, names: Sequence[str]) -> str:
    """Return the given endpoint, or the only one.

    Raises:
        click.UsageError: there is no such endpoint, or none is given and there are several.
    """
    check(name, names)
    if not name and len(names) > 1:
        raise click.UsageError(f"there are several endpoints: name one with --endpoint: {', '.join(sorted(names))}")
    return name or next(iter(names), "")
