"""Checks of the files that a configuration and the environment name: certificates, tokens, passwords, and of backups.

A file that can't be used is no error of the configuration: it may exist only in the pod, and Beacon waits for it. Only
`check-config` reports it. No message repeats a part of a file.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from beacon import errors
from beacon.boundary import proxies, secret, tls
from beacon.configuration import settings


def problems(tree: settings.Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file that can't be used here."""
    for place, one in enumerate(tree.endpoints):
        where = f"endpoints[{place}]" if len(tree.endpoints) > 1 else "endpoint"
        yield from _problems_of_tls(one.tls, f"{where}.tls")
        if one.proxy.password_file:
            yield from _problem("", functools.partial(_read_password, one.proxy, f"{where}.proxy.passwordFile"))
        yield from _problems_of_auth(one.auth, f"{where}.auth")
        yield from _problems_of_signing(one.signing, f"{where}.signing")
    yield from _problems_of_backups(tree)
    if token := environ.get("ENDPOINT_AUTH_TOKEN_FILE", ""):
        yield from _problem("", lambda: secret.read_token(token, "ENDPOINT_AUTH_TOKEN_FILE"))


def _problems_of_tls(configured: settings.Tls, where: str) -> Iterator[str]:
    if path := configured.ca_file:
        yield from _problem(f"{where}.caFile", lambda: tls.trust_file(tls.bare(), path))
    certificate, key = configured.cert_file, configured.key_file
    if certificate and key:
        yield from _problem(f"{where}.certFile", lambda: tls.identify(tls.bare(), certificate, key))


def _problems_of_backups(tree: settings.Settings) -> Iterator[str]:
    if not tree.backup.interval_s:
        return
    directory, ledger = Path(tree.backup.path), Path(tree.storage.db_path).parent
    if not directory.is_dir():
        yield f"backup.path: the directory {directory} does not exist here"
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield f"backup.path: the directory {directory} is not writable for user {os.getuid()}"
    elif directory != ledger and ledger.is_dir() and directory.stat().st_dev == ledger.stat().st_dev:
        yield f"backup.path: {directory} is on the volume of the ledger; if it is lost, so are the backups"


def _problems_of_auth(auth: settings.Auth, where: str) -> Iterator[str]:
    if path := auth.bearer.token_file:
        yield from _problem("", functools.partial(secret.read_token, path, f"{where}.bearer.tokenFile"))
    if path := auth.basic.password_file:
        yield from _problem("", functools.partial(secret.read_password, path, f"{where}.basic.passwordFile"))
    if path := auth.oauth2.client_secret_file:
        yield from _problem("", functools.partial(secret.read_password, path, f"{where}.oauth2.clientSecretFile"))
    if path := auth.oauth2.ca_file:
        yield from _problem(f"{where}.oauth2.caFile", functools.partial(tls.trust_file, tls.bare(), path))
    for name, file in auth.header_files.items():
        yield from _problem("", functools.partial(secret.read_token, file, f"{where}.headerFiles.{name}"))


def _problems_of_signing(signing: settings.Signing, where: str) -> Iterator[str]:
    for index, path in enumerate(signing.secret_files):
        yield from _problem("", functools.partial(secret.read_signing_secret, path, f"{where}.secretFiles[{index}]"))


def _read_password(proxy: settings.ProxySettings, where: str) -> None:
    password = secret.read_password(proxy.password_file, where)
    proxies.check_password(password, proxy.url, f"{where} {proxy.password_file}")


def _problem(where: str, read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except errors.TransientError as error:
        yield f"{where}: {error}" if where else str(error)
