"""The statement of provenance names what the image was built from."""

import hashlib
import re
import subprocess
from pathlib import Path

import click
import pytest
from click import testing

import beacon
from beacon.dev import provenance

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "ab" * 32


def test_it_names_the_image_the_commit_the_base_and_the_locks() -> None:
    made = provenance.statement(ROOT, image="registry.example.com/beacon", digest=DIGEST, commit="c0ffee", now_us=0)

    (subject,) = made["subject"]
    build = made["predicate"]["buildDefinition"]
    found = {each["uri"]: each["digest"] for each in build["resolvedDependencies"]}
    containerfile = (ROOT / "Containerfile").read_text()
    assert subject == {"name": "registry.example.com/beacon", "digest": {"sha256": "ab" * 32}}
    assert build["externalParameters"]["source"].endswith(f"@refs/tags/v{beacon.VERSION}")
    assert {"gitCommit": "c0ffee"} in found.values()
    assert found["docker://docker.io/library/python:3.13-slim"]["sha256"] in containerfile
    copied = set(re.findall(r"\brequirements(?!-test-endpoint)[\w-]*\.(?:lock|txt)", containerfile))
    assert {name: found[name] for name in copied} == {
        name: {"sha256": hashlib.sha256((ROOT / name).read_bytes()).hexdigest()} for name in copied
    }
    assert made["predicate"]["runDetails"]["metadata"] == {"finishedOn": "1970-01-01T00:00:00.000000Z"}


def test_a_checkout_with_changes_has_no_provenance(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=n@example.com")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "--message", "one")
    assert re.fullmatch(r"[0-9a-f]{40}", provenance.commit_of(tmp_path))
    (tmp_path / "new").touch()

    with pytest.raises(click.ClickException, match=r"the checkout has changes; build the image of a commit:\n\?\? new"):
        provenance.commit_of(tmp_path)


@pytest.mark.parametrize("digest", ["", "latest", "sha256:ab"])
def test_only_a_digest_names_an_image(digest: str) -> None:
    found = testing.CliRunner().invoke(provenance.main, ["registry.example.com/beacon", digest])

    assert found.exit_code == 1
    assert "DIGEST: must be sha256: and 64 hex digits" in found.output
