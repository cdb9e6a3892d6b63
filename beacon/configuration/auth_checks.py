"""Checks of an endpoint's credentials: of `auth` in itself, with its headers, and with the environment. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from beacon.configuration import settings

TOKEN_VARIABLES = ("ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE")
_AUTHORIZATION = "authorization"
_PARAMETERS = ("client_id", "client_secret", "grant_type", "scope")


def problems(one: settings.EndpointSettings, path: str, invalid: Collection[str] = ()) -> Iterator[str]:
    """Yield the problems of an endpoint's credentials; `invalid` are the paths of values that have one already."""
    auth, where = one.auth, f"{path}.auth"
    if len(auth.schemes) > 1:
        yield f"{where}: only one of {', '.join(auth.schemes)} is possible"
    yield from _basic(auth.basic, f"{where}.basic", invalid)
    yield from _oauth2(auth, f"{where}.oauth2", invalid)
    names = [name.lower() for name in auth.header_files]
    configured = {name.lower() for name in one.headers}
    if len(set(names)) < len(names):
        yield f"{where}.headerFiles: two names differ only in case"
    for name in auth.header_files:
        if name.lower() in configured:
            yield f"{where}.headerFiles: {name!r} is in headers, too"
    if auth.schemes and _AUTHORIZATION in names:
        yield f"{where}.headerFiles: 'Authorization' can't be combined with {auth.schemes[0]}"
    if one.signing.secret_files and (own := [name for name in one.headers if name.lower().startswith("webhook-")]):
        yield f"{path}.headers: {own[0]!r} can't be combined with signing"
    if auth.schemes and _AUTHORIZATION in configured:
        yield f"{path}.headers: 'Authorization' can't be combined with auth.{auth.schemes[0]}"


def problems_with_environment(
    endpoints: Sequence[settings.EndpointSettings], paths: Sequence[str], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield an error for each variable with a token beside an `auth` that sets the same header.

    With several endpoints these variables are an error anyway.
    """
    if len(endpoints) > 1:
        return
    for one, path in zip(endpoints, paths, strict=True):
        sets = [f"auth.{scheme}" for scheme in one.auth.schemes]
        sets += [f"auth.headerFiles.{name}" for name in one.auth.header_files if name.lower() == _AUTHORIZATION]
        for variable in TOKEN_VARIABLES if sets else ():
            if environ.get(variable):
                yield f"{variable}: can't be combined with {path}.{sets[0]}; remove one of them"


def _oauth2(auth: settings.Auth, where: str, invalid: Collection[str]) -> Iterator[str]:
    if "oauth2" not in auth.schemes:
        return
    client = auth.oauth2
    required = {
        "tokenURL": client.token_url,
        "clientID": client.client_id,
        "clientSecretFile": client.client_secret_file,
    }
    for key, value in required.items():
        if not value and f"{where}.{key}" not in invalid:
            yield f"{where}.{key}: required"
    for name in client.params:
        if name in _PARAMETERS:
            yield f"{where}.params: {name!r} is set by Beacon"
    for scope in client.scopes:
        if not scope.isprintable() or " " in scope:
            yield f"{where}.scopes: must be a list of scopes without blanks"


def _basic(basic: settings.Basic, where: str, invalid: Collection[str]) -> Iterator[str]:
    has_user = bool(basic.username) or f"{where}.username" in invalid
    has_password = bool(basic.password_file) or f"{where}.passwordFile" in invalid
    if has_user and not has_password:
        yield f"{where}.passwordFile: required"
    if has_password and not has_user:
        yield f"{where}.username: required"
    if ":" in basic.username or not basic.username.isprintable():  # RFC 7617
        yield f"{where}.username: must not contain a colon or a control character"
