"""Describes why a request failed: the code of its answer, and a text. Pure."""

import ssl

from urllib3 import exceptions

from beacon.notifier.transport import answer, tunnel

_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def code_of(error: Exception) -> str:
    """Return the code for an error of a connection."""
    causes = _causes(error)
    if any(isinstance(cause, TimeoutError | exceptions.TimeoutError) for cause in causes):
        return answer.TIMEOUT
    if any(isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT_OFF) for cause in causes):
        return answer.TLS
    return answer.NETWORK


def status_of(error: Exception) -> int:
    """Return the status of a proxy's complete answer that says what is wrong, 0 if there is none."""
    refused = any(isinstance(cause, tunnel.ProxyAuthenticationError) for cause in _causes(error))
    return tunnel.PROXY_AUTHENTICATION_REQUIRED if refused else 0


def describe(error: Exception) -> str:
    """Return the text for an error of a connection; it may quote the endpoint."""
    root = _causes(error)[-1]
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {root.verify_message}"
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return str(root) or type(root).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, outermost first."""
    causes = [error]
    while True:
        last = causes[-1]
        inner = [argument for argument in last.args if isinstance(argument, BaseException)]
        following = inner[-1] if inner else last.__cause__
        if following is None or following in causes:
            return causes
        causes.append(following)
