"""The cluster a command works with, chosen as kubectl does.

It is that of `--kubeconfig`, of KUBECONFIG or of `~/.kube/config`, or else that of the pod's service account.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """The kubeconfig and the context that the options name, each "" for the default."""

    kubeconfig: str = ""
    context: str = ""

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with the chosen kubeconfig in KUBECONFIG, unless there is none."""
        home = environ.get("HOME", "")
        default = Path(home, ".kube", "config")
        found = self.kubeconfig or environ.get("KUBECONFIG", "") or (str(default) if home and default.exists() else "")
        return {**environ, "KUBECONFIG": found}


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Add `--kubeconfig` and `--context` to a command, as its parameters `kubeconfig` and `context`."""
    return _kubeconfig(_context(command))


_kubeconfig = click.option(
    "--kubeconfig",
    default="",
    metavar="FILE",
    help="Kubeconfig file.  [default: $KUBECONFIG, else ~/.kube/config, else the pod's service account]",
)
_context = click.option("--context", default="", help="Context of the kubeconfig.  [default: its current-context]")
