"""Writes dist/provenance.json: from what, and how, a released image was built (SLSA 1.0, in an in-toto statement).

`python -m beacon.dev.provenance IMAGE sha256:DIGEST` in the checkout that was built; docs/contributing.md has the other
steps of a release. Reads only files and git, so that a checkout always has the same statement, apart from the time.
"""

import hashlib
import subprocess
import time
from pathlib import Path
from typing import Any

import click

import beacon
from beacon import codec
from beacon.domain import instants

_ROOT = Path(__file__).parents[2]
_DIGEST_LENGTH = 71
_REPOSITORY = "https://github.com/bryonbaker/beacon"
_BASE = "ARG BASE_IMAGE="
_LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-left-out.txt")


def statement(root: Path, *, image: str, digest: str, commit: str, now_us: int) -> dict[str, Any]:
    """Return the statement on the image `image` with the digest `sha256:...`, built from `commit` in `root`."""
    lines = (root / "Containerfile").read_text(encoding="utf-8").splitlines()
    (base,) = (line.removeprefix(_BASE) for line in lines if line.startswith(_BASE))
    base, _, base_digest = base.partition("@sha256:")
    files = [
        {"uri": name, "digest": {"sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()}} for name in _LOCKS
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{_REPOSITORY}/blob/v{beacon.VERSION}/Makefile#image",
                "externalParameters": {"source": f"git+{_REPOSITORY}@refs/tags/v{beacon.VERSION}", "target": "beacon"},
                "resolvedDependencies": [
                    {"uri": f"git+{_REPOSITORY}", "digest": {"gitCommit": commit}},
                    {"uri": f"docker://{base}", "digest": {"sha256": base_digest}},
                    *files,
                ],
            },
            "runDetails": {
                "builder": {"id": f"{_REPOSITORY}/blob/v{beacon.VERSION}/docs/contributing.md#releasing"},
                "metadata": {"finishedOn": instants.rfc3339(now_us)},
            },
        },
    }


def commit_of(root: Path) -> str:
    """Return the commit of a checkout.

    Raises:
        click.ClickException: its files differ from the commit, so that the image was built from something else.
    """
    if changed := _git(root, "status", "--porcelain"):
        raise click.ClickException(f"the checkout has changes; build the image of a commit:\n{changed}")
    return _git(root, "rev-parse", "HEAD")


@click.command(help=__doc__)
@click.argument("image")
@click.argument("digest")
def main(image: str, digest: str) -> None:
    """Write the statement."""
    if not (digest.startswith("sha256:") and len(digest) == _DIGEST_LENGTH):
        raise click.ClickException("DIGEST: must be sha256: and 64 hex digits, as `podman push --digestfile` writes it")
    made = statement(_ROOT, image=image, digest=digest, commit=commit_of(_ROOT), now_us=time.time_ns() // 1000)
    path = _ROOT / "dist" / "provenance.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(codec.encode_pretty(made))
    click.echo(path)


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607


if __name__ == "__main__":
    main()
