"""The image's build files match the project and the manifests; tests/image builds and runs the image."""

import re
import tomllib

import pytest

import beacon
from tests.manifests import built

CONTAINERFILE = (built.ROOT / "Containerfile").read_text()
LOCKS = sorted(path.name for path in built.ROOT.glob("requirements*.lock"))
SHIPPED = ("requirements.lock", "requirements-build.lock", "requirements-test-endpoint.lock")


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (built.ROOT / lock).read_text(), re.MULTILINE))


def test_the_image_has_the_version_of_the_project() -> None:
    project = tomllib.loads((built.ROOT / "pyproject.toml").read_text())["project"]

    assert re.findall(r"ARG VERSION=(\S+)", CONTAINERFILE) == [project["version"]]
    assert f'licenses="{project["license"]}"' in CONTAINERFILE
    assert CONTAINERFILE.count(f'description="{project["description"]}"') == 1


def test_manifests_and_pages_name_the_images_with_the_version_of_the_project() -> None:
    files = [built.ROOT / "README.md", *(built.ROOT / "docs").glob("*.md"), *built.K8S.rglob("*.yaml")]
    texts = [path.read_text() for path in files]
    tags = {tag for text in texts for tag in re.findall(r"\bbeacon(?:-test-endpoint)?:([\w.]+)(?=[\s`,])", text)}
    named = {tag for text in texts for tag in re.findall(r"newTag: (\S+)", text)}
    images = {
        container["image"].rpartition(":")[2]
        for overlay in (built.BASE, "overlays/test-endpoint", "overlays/openshift", "overlays/example")
        for deployment in built.objects(overlay)
        if deployment["kind"] == "Deployment"
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }

    assert tags - {"X.Y.Z"} == named == images == {beacon.VERSION}


def test_the_base_image_is_named_by_its_digest() -> None:
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)", CONTAINERFILE, re.MULTILINE)

    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)) == {"${BASE_IMAGE}", "tools", "bare"}


def test_the_image_runs_as_in_the_manifests() -> None:
    context = built.pod(built.BASE)["securityContext"]
    user = f"{context['runAsUser']}:{context['runAsGroup']}"

    stages = [stage for stage in re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE) if "USER " in stage]

    assert len(stages) == 2
    assert {re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] for stage in stages} == {user}


def test_every_installed_package_has_a_locked_hash() -> None:
    installs = re.findall(r"pip .*\binstall .*", CONTAINERFILE)

    assert len(installs) == 5
    assert all(
        "--require-hashes -r requirements" in line or "--no-index --no-deps /wheels" in line for line in installs
    )


def test_only_requirements_of_the_runtime_are_left_out() -> None:
    left_out = (built.ROOT / "requirements-left-out.txt").read_text().split()

    assert left_out == sorted(set(left_out) & set(pins("requirements.lock")))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_versions_and_hashes_and_no_index(lock: str) -> None:
    lines = (built.ROOT / lock).read_text().splitlines()

    assert all(
        re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line)
        for line in lines
    )


@pytest.mark.parametrize("lock", SHIPPED)
def test_the_tested_versions_are_the_shipped_ones(lock: str) -> None:
    tested = pins("requirements-dev.lock")

    assert pins(lock).items() <= tested.items()
