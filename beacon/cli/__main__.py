"""`beacon`: the entry point of all commands. A command is imported only when it is called, to keep `--help` fast."""

import difflib
import importlib
import sys
from typing import Any, NoReturn

import click

from beacon import errors
from beacon.boundary import visible

_COMMANDS = {
    "events": ("events", "List events and the state of their deliveries."),
    "redeliver": ("redeliver", "Send events again."),
    "test-event": ("test_event", "Send a test event and report the endpoint's response."),
    "tail": ("tail", "Follow events and requests as they happen."),
    "pause": ("pause", "Stop the sending to one endpoint."),
    "resume": ("resume", "Start the sending to a paused or parked endpoint again."),
    "discard": ("discard", "Give up failed deliveries, or those of a removed endpoint, permanently."),
    "adopt": ("adopt", "Bind the ledger to another cluster."),
    "completion": ("completion", "Print the completion script for a shell."),
    "version": ("version", "Print the versions of Beacon and of what it runs on."),
    "backup": ("backup", "Copy the running ledger and check the copy."),
    "restore": ("restore", "Put a checked copy of a ledger in the place of the ledger."),
    "reload": ("reload", "Apply a changed configuration file without a new pod."),
    "verify": ("verify", "Check a ledger file, or a copy of the running ledger."),
    "check-config": ("check_config", "Validate a configuration and print the effective values."),
    "explain": ("explain.command", "Show the history of one object, and why no event was sent."),
    "plan": ("plan.command", "Preview the effect of a configuration on this cluster."),
    "rbac": ("rbac", "Print the minimal RBAC for a configuration."),
    "status": ("status.command", "Show processes, scopes, deliveries, endpoints, gaps and storage."),
}


NAMES = tuple(sorted(_COMMANDS))


class _LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command; report a usage error in one line."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = error.exit_code
        except click.ClickException as error:
            path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "beacon"
            click.echo(visible.escaped(f"{path}: {_one_line(error)} (see {path} --help)"), err=True)
            code = error.exit_code
        except click.Abort as error:
            interrupted = isinstance(error.__cause__, KeyboardInterrupt)
            click.echo("Interrupted." if interrupted else "Aborted.", err=True)
            code = errors.EXIT_INTERRUPTED if interrupted else errors.EXIT_FAILURE
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all commands."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in _COMMANDS:
            similar = difflib.get_close_matches(cmd_name, _COMMANDS, n=1)
            hint = f"did you mean {similar[0]!r}?" if similar else f"the commands are {', '.join(NAMES)}"
            raise click.UsageError(f"no such command {cmd_name!r}: {hint}", ctx)
        module = importlib.import_module(f"beacon.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Describe each command without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    return text[:1].lower() + text[1:].rstrip(".")


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="beacon", prog_name="beacon")
def main(**_: object) -> None:
    """Deliver every change of annotated Kubernetes resources to an HTTP endpoint."""


if __name__ == "__main__":
    main(prog_name="beacon")
