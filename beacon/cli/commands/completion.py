"""`beacon completion`: print the script that lets a shell complete commands, options and their values."""

import click
from click import shell_completion

from beacon.cli import terminal

_EPILOG = """
\b
Examples:
  source <(beacon completion bash)
  beacon completion zsh > "${fpath[1]}/_beacon"
  beacon completion fish | source

\b
Exit codes: 0 printed, 2 usage error.
"""
_SHELLS = {
    "bash": shell_completion.BashComplete,
    "zsh": shell_completion.ZshComplete,
    "fish": shell_completion.FishComplete,
}


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL, to be sourced.

    It needs bash 4.4 or later; in zsh, compinit must have run. The script calls `beacon`, which must be on the PATH.
    """
    completion = _SHELLS[shell](context.find_root().command, {}, "beacon", "_BEACON_COMPLETE")
    # Bash's own `source` would run bash to check its version, but the script may be used elsewhere than here.
    terminal.script(shell_completion.ShellComplete.source(completion))
