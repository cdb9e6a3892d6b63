"""`beacon`: the commands. Each is imported only when it is called, so that `beacon --help` is quick."""

import importlib
from typing import Any

import click

_COMMANDS = {
    "adopt": ("adopt", "Let the ledger follow another cluster."),
    "backup": ("backup", "Copy the ledger, checked, while everything goes on."),
    "verify": ("verify", "Check a ledger, or a copy of the running one."),
    "check-config": ("check_config", "Validate a configuration file and print what is in effect."),
    "plan": ("plan", "Show what a configuration would do on this cluster."),
    "rbac": ("rbac", "Print the least RBAC for a configuration."),
    "status": ("status", "Show processes, scopes, deliveries, endpoint, gaps and storage."),
}


class _Lazy(click.Group):
    """A group whose commands are loaded when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Name the commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"beacon.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Say what each does without loading it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="beacon", prog_name="beacon")
def main(**_: Any) -> None:
    """Tell an HTTP endpoint every change of annotated Kubernetes resources."""


if __name__ == "__main__":
    main(prog_name="beacon")
