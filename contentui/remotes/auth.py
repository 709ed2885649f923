"""Authentication at a host: challenges answered with tokens or passwords.

A header made here is sent only to the host whose challenge asked for it, and not to those to which
it redirects (`contentui.remotes.http.Http.follow`). Sources: "Token Authentication" in the
distribution project's documentation, RFC 9110 section 11.6.1 (WWW-Authenticate).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from contentui.remotes.errors import CHECK_ACCOUNT, LOG_IN, Denied, Rejected
from contentui.remotes.response import from_response
from contentui.remotes.urls import host_of, redacted
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.errors import ContentError
    from contentui.remotes.http import Http
    from contentui.remotes.response import Response
    from contentui.remotes.settings import Credentials, Host

_DEFAULT_LIFE_S = 60.0
"""How long a token without ``expires_in`` is valid, according to the token specification."""
_EARLY_S = 10.0
"""A token is renewed so long before its end."""
_MAX_TOKEN_SIZE = 1 << 20
_CLIENT = "contentui"
_PARAMETER = re.compile(r'(?s)[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s+[A-Za-z0-9_-]+\s*=|\s*(?:,|$))")
_WITH_SECRET = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")


class Challenge(NamedTuple):
    """One scheme of a WWW-Authenticate header."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str]


class _Token(NamedTuple):
    header: str
    until_s: float
    """Monotonic clock."""


class Authorizer:
    """Gets one host's tokens. Thread-safe: no token is requested twice at the same time."""

    def __init__(
        self, http: Http, host: Host, credentials: Callable[[], Credentials | None]
    ) -> None:
        self._http = http
        self._host = host
        self._find = credentials
        self.has_account = False
        """Whether a user's credentials were found, once they were looked for."""
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}
        self._schemes: dict[str, Challenge] = {}

    def header(self, scope: str) -> str | None:
        """The Authorization header for requests in a scope; None before the first challenge.

        Raises:
            ContentError: the token has expired, and can't be renewed.
        """
        with self._lock:
            token = self._tokens.get(scope)
            if token is None:
                return None
            if token.until_s > time.monotonic():
                return token.header
            return self._renew(scope)

    def respond(self, unauthorized: Response, scope: str, used: str | None) -> str:
        """The header that the challenges of a 401 ask for; closes the response.

        ``used`` is the header that was rejected: another thread may have renewed it meanwhile.

        Raises:
            Denied: no supported scheme, or no valid credentials.
            RetryableError: the token server can't be reached.
        """
        challenges = [
            challenge
            for value in unauthorized.headers.get_all("WWW-Authenticate", [])
            for challenge in parse_challenges(value)
        ]
        host = unauthorized.host
        error = from_response(unauthorized, "this")
        with self._lock:
            token = self._tokens.get(scope)
            if token is not None and token.header != used:
                return token.header
            for scheme in ("bearer", "basic"):
                chosen = next((each for each in challenges if each.scheme == scheme), None)
                if chosen is not None:
                    self._schemes[scope] = chosen
                    return self._renew(scope)
        offered = ", ".join(sorted({visible(each.scheme, 40) for each in challenges})) or "nothing"
        raise Denied(
            f"{visible(host)} requires an authentication scheme that is not supported: {offered}",
            host=host,
            status=401,
        ) from error

    def _renew(self, scope: str) -> str:
        challenge = self._schemes[scope]
        if challenge.scheme == "basic":
            token = _Token(self._basic(), float("inf"))
        else:
            token = self._bearer(challenge, scope)
        self._tokens[scope] = token
        return token.header

    def _basic(self) -> str:
        credentials = self._find()
        self.has_account = credentials is not None
        if credentials is None or not credentials.username:
            raise self._denied("it requires a user and a password, and none are known")
        return _basic_header(credentials)

    def _bearer(self, challenge: Challenge, scope: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        scheme = realm.partition("://")[0].lower()
        if scheme not in ("http", "https") or not host_of(realm):
            shown = visible(redacted(realm), 100) or "(empty)"
            raise self._denied(f"the URL of its token server is invalid: {shown}")
        if scheme == "http" and self._host.scheme == "https":
            raise self._denied("its token server is without TLS")
        requested = challenge.parameters.get("scope", "").split()
        scopes = sorted({*requested, *scope.split()})
        credentials = self._find()
        self.has_account = credentials is not None
        service = challenge.parameters.get("service", "")
        response = self._request_token(realm, service, scopes, credentials)
        if response.status in (401, 403) and credentials is not None:
            raise self._rejected(response, credentials)
        return self._read_token(response)

    def _request_token(
        self, realm: str, service: str, scopes: list[str], credentials: Credentials | None
    ) -> Response:
        if credentials is not None and (credentials.secret or credentials.refresh_token):
            response = self._post(realm, service, scopes, credentials)
            if response.status not in (400, 401, 404, 405):
                return response
            if credentials.refresh_token:
                return response  # GET takes no refresh token
            response.close()
        query: list[tuple[str, str]] = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        mark = "&" if "?" in realm else "?"
        url = realm + (mark + urlencode(query) if query else "")
        headers = {"Authorization": _basic_header(credentials)} if credentials else {}
        return self._http.follow(
            "GET", url, tls=self._host.tls, headers=headers, timeouts=self._host.timeouts
        )

    def _post(
        self, realm: str, service: str, scopes: list[str], credentials: Credentials
    ) -> Response:
        form = {"service": service, "client_id": _CLIENT, "scope": " ".join(scopes)}
        if credentials.refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": credentials.refresh_token}
        else:
            form |= {
                "grant_type": "password",
                "username": credentials.username,
                "password": credentials.secret,
            }
        content = urlencode(form).encode()
        return self._http.follow(
            "POST",
            realm,
            tls=self._host.tls,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=lambda: content,
            timeouts=self._host.timeouts,
            secret=True,
        )

    def _read_token(self, response: Response) -> _Token:
        if response.status == 400:
            response.close()
            raise self._denied(f"{visible(response.host)} issued no token")
        if response.status != 200:
            raise from_response(response, "a token")
        with response:
            raw = response.read(_MAX_TOKEN_SIZE)
        try:
            reply: dict[str, Any] = json.loads(raw)
            token = reply.get("access_token") or reply.get("token")
            life_s = float(reply.get("expires_in") or _DEFAULT_LIFE_S)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            token, life_s = None, 0.0
        valid = isinstance(token, str) and token.isascii() and token.isprintable()
        if not valid or not token:
            raise self._denied(f"{visible(response.host)} issued an invalid token")
        life_s = life_s if life_s > 0 else _DEFAULT_LIFE_S  # also for NaN
        return _Token(f"Bearer {token}", time.monotonic() + max(life_s - _EARLY_S, life_s / 2))

    def _rejected(self, response: Response, credentials: Credentials) -> ContentError:
        """The token server doesn't take the account."""
        error = from_response(response, "a token")
        account = visible(credentials.username, 100) or "the stored account"
        return Rejected(
            f"{visible(error.message)}: it rejects the credentials of {account}",
            host=self._host.address,
            status=response.status,
            advice=CHECK_ACCOUNT,
        )

    def _denied(self, why: str) -> ContentError:
        return Denied(
            f"authentication at {visible(self._host.address)} failed: {why}",
            host=self._host.address,
            status=401,
            advice=LOG_IN,
        )


def parse_challenges(header: str) -> list[Challenge]:
    """The schemes of one WWW-Authenticate header, which may have several."""
    found: list[Challenge] = []
    position = 0
    header = header[:8192]
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        if parameter is not None and found:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"(?s)\\(.)", r"\1", quoted)
            found[-1].parameters.setdefault(name.lower(), value)
            position = parameter.end()
            continue
        # "Negotiate YWJj==" is a scheme with one bare value.
        bare = _WITH_SECRET.match(header, position)
        scheme = bare or _SCHEME.match(header, position)
        if scheme is None:
            break
        found.append(Challenge(scheme[1].lower(), {}))
        position = scheme.end()
    return found


def _basic_header(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
