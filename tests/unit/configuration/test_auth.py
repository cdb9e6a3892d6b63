"""`auth` of an endpoint: at most one scheme, header files, conflicts with headers and with the environment."""

import json
import pathlib
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from beacon import errors
from beacon.codec import documents
from beacon.configuration import loading, named_files, settings, shown
from beacon.dev.reference import schema

VALIDATOR = jsonschema.Draft7Validator(schema.document())
BEARER = {"bearer": {"tokenFile": "/s/t"}}
BASIC = {"basic": {"username": "me", "passwordFile": "/s/p"}}


CLIENT = {"tokenURL": "https://login/t", "clientID": "me", "clientSecretFile": "/s/c"}
OAUTH2 = {"oauth2": CLIENT | {"scopes": ["a", "b"], "params": {"audience": "x"}, "clientAuth": "body", "timeout": "3s"}}


def content(auth: object, **more: object) -> dict[str, Any]:
    return {
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "endpoint": {"url": "http://a/", "auth": auth, **more},
    }


def load(auth: object, *, environ: dict[str, str] | None = None, **more: object) -> settings.Settings:
    return loading.parse(json.dumps(content(auth, **more)), environ or {}).settings


@pytest.mark.parametrize("auth", [None, {}, {"bearer": None}, {"bearer": {"tokenFile": ""}}, {"headerFiles": {}}])
def test_nothing_is_the_default(auth: object) -> None:
    assert load(auth).endpoint.auth == settings.Auth()
    assert VALIDATOR.is_valid(content(auth))


@pytest.mark.parametrize(
    "auth",
    [
        BEARER,
        BASIC,
        OAUTH2,
        {"headerFiles": {"X-API-Key": "/s/k", "Authorization": "/s/a"}},
        BASIC | {"headerFiles": {"X": "/s/x"}},
    ],
)
def test_what_check_config_shows_can_be_loaded_and_names_the_files(auth: dict[str, Any]) -> None:
    tree = load(auth)
    seen = shown.as_file(tree)["endpoint"]["auth"]

    assert load(seen) == tree
    assert seen["headerFiles"] == auth.get("headerFiles", {})
    assert settings.from_plain(settings.to_plain(tree)) == tree
    assert VALIDATOR.is_valid(content(auth))


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (BEARER | BASIC, "endpoint.auth: only one of bearer, basic is possible"),
        ({"basic": {"username": "me"}}, "endpoint.auth.basic.passwordFile: required"),
        ({"basic": {"passwordFile": "/p"}}, "endpoint.auth.basic.username: required"),
        (
            {"basic": {"username": "a:b", "passwordFile": "/p"}},
            "endpoint.auth.basic.username: must not contain a colon",
        ),
        (BEARER | {"headerFiles": {"authorization": "/a"}}, "'Authorization' can't be combined with bearer"),
        ({"headerFiles": {"X-Key": "/a", "x-key": "/b"}}, "endpoint.auth.headerFiles: two names differ only in case"),
        ({"headerFiles": {"X-Key: hunter2": "/a"}}, "endpoint.auth.headerFiles: 'X-Key' is not a header's name"),
        ({"headerFiles": {"X-Key": ""}}, "endpoint.auth.headerFiles: 'X-Key' needs the path of a file"),
        ({"headerFiles": {"X-Team": "/a"}}, "endpoint.auth.headerFiles: 'X-Team' is in headers, too"),
        (OAUTH2 | BASIC, "endpoint.auth: only one of basic, oauth2 is possible"),
        ({"oauth2": {"clientID": "me"}}, "endpoint.auth.oauth2.tokenURL: required"),
        ({"oauth2": {"tokenURL": "https://a/"}}, "endpoint.auth.oauth2.clientSecretFile: required"),
        (
            {"oauth2": CLIENT | {"params": {"scope": "hunter2"}}},
            "endpoint.auth.oauth2.params: 'scope' is set by Beacon",
        ),
        ({"oauth2": CLIENT | {"scopes": ["hunter2 b"]}}, "endpoint.auth.oauth2.scopes: must be a list of scopes"),
        ({"oauth2": CLIENT | {"clientAuth": "hunter2"}}, "endpoint.auth.oauth2.clientAuth: must be one of basic, body"),
        ({"oauth2": CLIENT | {"tokenURL": "ftp://hunter2"}}, "endpoint.auth.oauth2.tokenURL: must be"),
        ({"oauth2": CLIENT | {"tokenURL": "https://u:hunter2@a"}}, "endpoint.auth.oauth2.tokenURL: must not hold user"),
        ({"token": "hunter2"}, "endpoint.auth.token: no such key"),
        ("hunter2", "endpoint.auth: must be a mapping"),
        (BEARER | {"bearer": "hunter2"}, "endpoint.auth.bearer: must be a mapping"),
    ],
)
def test_an_invalid_auth_is_an_error(auth: object, message: str) -> None:
    with pytest.raises(errors.ConfigError) as refused:
        load(auth, headers={"x-team": "hunter2"})

    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["Host", "content-LENGTH", "Content-Type", "ce-id", "Webhook-Signature", "TE", "X-Request-ID"]
)
def test_a_header_that_beacon_sets_itself_is_refused(name: str) -> None:
    auth = {"headerFiles": {name: "/a"}}

    with pytest.raises(errors.ConfigError, match="is set by Beacon or belongs to the connection"):
        load(auth)

    assert not VALIDATOR.is_valid(content(auth))


@pytest.mark.parametrize("variable", ["ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE"])
def test_a_token_of_the_environment_beside_auth_is_an_error(variable: str) -> None:
    for auth, key in ((BEARER, "bearer"), (BASIC, "basic"), ({"headerFiles": {"AUTHORIZATION": "/a"}}, "headerFiles")):
        with pytest.raises(
            errors.ConfigError, match=f"{variable}: can't be combined with endpoint.auth.{key}"
        ) as refused:
            load(auth, environ={variable: "hunter2"})
        assert "hunter2" not in str(refused.value)
    assert load({"headerFiles": {"X-Key": "/a"}}, environ={variable: "hunter2"})


def test_a_configured_authorization_beside_auth_is_an_error() -> None:
    with pytest.raises(
        errors.ConfigError, match=r"endpoint.headers: 'Authorization' can't be combined with auth.bearer"
    ):
        load(BEARER, headers={"authorization": "hunter2"})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "can't be read: No such file or directory"),
        (b"", "is empty"),
        (b"hunter2\nhunter2", "contains a line feed or another control character"),
        (b"hunter2\xff", "is not UTF-8 text"),
        (b"hunter2" * 10_000, "can't be read: Larger than 64 KiB"),
        (b"hunter2\n", None),
    ],
)
def test_every_file_is_checked_without_repeating_it(
    data: bytes | None, problem: str | None, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "secret"
    if data is not None:
        path.write_bytes(data)
    places = {
        "bearer.tokenFile": {"bearer": {"tokenFile": str(path)}},
        "basic.passwordFile": {"basic": {"username": "me", "passwordFile": str(path)}},
        "oauth2.clientSecretFile": {"oauth2": CLIENT | {"clientSecretFile": str(path)}},
        "headerFiles.X-Key": {"headerFiles": {"X-Key": str(path)}},
    }

    found = {place: list(named_files.problems(load(auth), {})) for place, auth in places.items()}

    assert found == {place: [] if problem is None else [f"endpoint.auth.{place} {path} {problem}"] for place in places}


def test_a_directory_in_place_of_a_file_is_reported(tmp_path: pathlib.Path) -> None:
    tree = load({"bearer": {"tokenFile": str(tmp_path)}})

    assert list(named_files.problems(tree, {})) == [
        f"endpoint.auth.bearer.tokenFile {tmp_path} can't be read: Is a directory"
    ]


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("whsec_" + "A" * 32, True),
        ("whsec_" + "A" * 33, False),  # not base64: its length
        ("whsec_" + "A" * 34 + "E=\n", True),
        ("whsec_" + "A" * 84 + "AA==", True),
        ("whsec_" + "A" * 84 + "AA", True),  # padding may be absent
        ("whsec_" + "A" * 31, False),  # 23 bytes
        ("whsec_" + "A" * 88, False),  # 66 bytes
        ("whsec_" + "A" * 31 + "-", False),  # another alphabet
        ("A" * 32, False),
        ("whsec_", False),
    ],
)
def test_a_signing_secret_is_24_to_64_bytes_in_base64(text: str, is_valid: bool, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    tree = load(None, signing={"secretFiles": [str(path)]})

    found = list(named_files.problems(tree, {}))

    place = f"endpoint.signing.secretFiles[0] {path}"
    assert found == ([] if is_valid else [f"{place} must contain whsec_ and the base64 of 24 to 64 bytes"])


def test_a_configured_webhook_header_beside_signing_is_an_error() -> None:
    headers = {"Webhook-Id": "1"}
    assert load(None, headers=headers)

    with pytest.raises(errors.ConfigError, match=r"endpoint.headers: 'Webhook-Id' can't be combined with signing"):
        load(None, headers=headers, signing={"secretFiles": ["/s"]})


def test_the_projected_token_of_the_page_is_mounted_where_the_configuration_reads_it() -> None:
    page = (pathlib.Path(__file__).parents[3] / "docs/deployment.md").read_text(encoding="utf-8")
    section = page.partition("## Service account token")[2].partition("## OpenShift")[0]
    patches, config = (documents.load(text.partition("```")[0]) for text in section.split("```yaml")[1:])
    pod = documents.load(patches[0]["patch"])["spec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]

    path = f"{mount['mountPath']}/{volume['projected']['sources'][0]['serviceAccountToken']['path']}"

    assert mount["name"] == volume["name"]
    assert load(config["endpoint"]["auth"]).endpoint.auth.bearer.token_file == path
    assert pod["containers"][0]["env"] == [{"name": "ENDPOINT_AUTH_TOKEN_FILE", "$patch": "delete"}]
