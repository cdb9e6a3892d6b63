"""`beacon`: the commands. Each is imported only when it is called, so that `beacon --help` is quick."""

import difflib
import importlib
import sys
from typing import Any, NoReturn

import click

from beacon.boundary import visible

_COMMANDS = {
    "events": ("events", "List events and what became of their deliveries."),
    "redeliver": ("redeliver", "Send events once more."),
    "test-event": ("test_event", "Send one marked event and say what the endpoint answers."),
    "tail": ("tail", "Follow events and requests as they happen."),
    "discard": ("discard", "Give failed deliveries up for good."),
    "adopt": ("adopt", "Let the ledger follow another cluster."),
    "backup": ("backup", "Copy the ledger, checked, while everything goes on."),
    "verify": ("verify", "Check a ledger, or a copy of the running one."),
    "check-config": ("check_config", "Validate a configuration file and print what is in effect."),
    "explain": ("explain", "Tell what happened to one object, and why nothing did."),
    "plan": ("plan", "Show what a configuration would do on this cluster."),
    "rbac": ("rbac", "Print the least RBAC for a configuration."),
    "status": ("status", "Show processes, scopes, deliveries, endpoint, gaps and storage."),
}


NAMES = tuple(sorted(_COMMANDS))


class _Lazy(click.Group):
    """A group whose commands are loaded when they are needed."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, and say what was wrong in one line."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = error.exit_code
        except click.ClickException as error:
            path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "beacon"
            click.echo(visible.escaped(f"{path}: {_one_line(error)} (see {path} --help)"), err=True)
            code = error.exit_code
        except click.Abort:
            click.echo("Not done.", err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Name the commands."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in _COMMANDS:
            meant = difflib.get_close_matches(cmd_name, _COMMANDS, n=1)
            hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(sorted(_COMMANDS))}"
            raise click.UsageError(f"no such command {cmd_name!r}: {hint}", ctx)
        module = importlib.import_module(f"beacon.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Say what each does without loading it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    return text[:1].lower() + text[1:].rstrip(".")


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="beacon", prog_name="beacon")
def main(**_: Any) -> None:
    """Tell an HTTP endpoint every change of annotated Kubernetes resources."""


if __name__ == "__main__":
    main(prog_name="beacon")
