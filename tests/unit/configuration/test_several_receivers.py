"""The page "Several receivers": its three configurations load, fit the schema, and select what the page states."""

import re
from collections.abc import Iterator

import jsonschema  # type: ignore[import-untyped]
import pytest

from beacon import errors
from beacon.codec import documents as yaml
from beacon.configuration import endpoint_selection, loading, settings
from beacon.dev.reference import schema
from beacon.domain import model, selection
from tests.system import documents

PAGE = documents.ROOT / "docs/several-receivers.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
CREATED, UPDATED, DELETED = model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED
CONFIG_MAP, DEPLOYMENT = ("", "ConfigMap"), ("apps", "Deployment")


def load(place: int) -> settings.Settings:
    return loading.parse(EXAMPLES[place], {}).settings


def receivers(tree: settings.Settings, kind: tuple[str, str], where: str, event: model.EventType) -> list[str]:
    """Return the names of the endpoints that get an event of the object `namespace/name`."""
    namespace, _, name = where.partition("/")
    subject = selection.Subject(group=kind[0], kind=kind[1], namespace=namespace, name=name)
    return [one.name for one in tree.endpoints if endpoint_selection.of(one).why_not(subject, event) is None]


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_configuration_of_the_page_loads_and_fits_the_schema(text: str) -> None:
    assert loading.parse(text, {}).warnings == ()

    assert list(jsonschema.Draft7Validator(schema.document()).iter_errors(yaml.load_text(text))) == []


def test_the_page_has_three_configurations_of_two_endpoints() -> None:
    assert [len(load(place).endpoints) for place in range(len(EXAMPLES))] == [2, 2, 2]


def test_provisioning_gets_the_deployments_of_the_teams() -> None:
    tree = load(0)
    both, one = ["billing", "provisioning"], ["billing"]

    assert receivers(tree, DEPLOYMENT, "team-a/web", CREATED) == both
    assert receivers(tree, DEPLOYMENT, "team-a/web", DELETED) == both
    assert receivers(tree, DEPLOYMENT, "team-a/tmp-1", CREATED) == one
    assert receivers(tree, DEPLOYMENT, "shop/web", CREATED) == one
    assert receivers(tree, CONFIG_MAP, "team-a/web", CREATED) == one


def test_the_receiver_under_test_starts_with_the_changes_and_is_limited() -> None:
    real, tested = load(1).endpoints

    assert (real.start, real.rate, real.concurrency) == ("created", 0, 5)
    assert (tested.start, tested.rate, tested.concurrency, tested.retry.max_attempts) == ("now", 20, 1, 3)
    assert receivers(load(1), CONFIG_MAP, "shop/web", CREATED) == ["billing", "billing-next"]


def test_audit_gets_deletions_outside_the_excluded_namespace() -> None:
    tree = load(2)

    assert receivers(tree, DEPLOYMENT, "shop/web", DELETED) == ["billing", "audit"]
    assert receivers(tree, DEPLOYMENT, "sandbox/web", DELETED) == ["billing"]
    for event in (CREATED, UPDATED):
        assert receivers(tree, DEPLOYMENT, "shop/web", event) == ["billing"]


def mistakes() -> Iterator[tuple[str, dict[str, str], str]]:
    first = EXAMPLES[0]
    yield first + "endpoint: {url: https://a.example.com/}\n", {}, "can't be combined"
    for name in ("ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE"):
        yield first, {name: "https://a.example.com/"}, name
    yield first.replace("Deployment.apps", "StatefulSet.apps"), {}, "is the kind of no entry of resources"
    yield first.replace("name: provisioning", "name: billing"), {}, "names must be unique"


@pytest.mark.parametrize(("text", "environ", "message"), list(mistakes()))
def test_what_the_page_calls_an_error_is_one(text: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=re.escape(message)):
        loading.parse(text, environ)
