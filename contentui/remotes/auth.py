"""Who we are to a host: challenges answered with tokens or passwords (dist-and-registry.md 3).

A header made here is only ever sent to the host whose challenge asked for it: redirects to others
go without (`contentui.remotes.http.Http.follow`).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from contentui.remotes.answers import refusal
from contentui.remotes.breaks import host_of, without_query
from contentui.remotes.errors import Denied
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.errors import ContentError
    from contentui.remotes.http import Answer, Http
    from contentui.remotes.model import Host
    from contentui.remotes.settings import Credentials

_USUAL_LIFE_S = 60.0
"""How long a token lasts when it doesn't say (the token specification's default)."""
_EARLY_S = 10.0
"""A token is renewed so long before its end."""
_MAX_ANSWER = 1 << 20
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
    """Answers one host's challenges. Thread-safe: each token is asked for once at a time."""

    def __init__(
        self, http: Http, host: Host, credentials: Callable[[], Credentials | None]
    ) -> None:
        self._http = http
        self._host = host
        self._find = credentials
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}
        self._schemes: dict[str, Challenge] = {}

    def header(self, scope: str) -> str | None:
        """The Authorization header for requests in a scope; None as long as nobody asked for one.

        Raises:
            ContentError: the token has run out, and no new one is to be had.
        """
        with self._lock:
            token = self._tokens.get(scope)
            if token is None:
                return None
            if token.until_s > time.monotonic():
                return token.header
            return self._renew(scope)

    def answer(self, refused: Answer, scope: str, used: str | None) -> str:
        """The header that a host's 401 asks for; ends the answer.

        ``used`` is the header that was refused: another thread may have renewed it meanwhile.

        Raises:
            Denied: there is no way to satisfy it.
            Interrupted: who gives out tokens can't be reached.
        """
        challenges = [
            challenge
            for value in refused.headers.get_all("WWW-Authenticate", [])
            for challenge in parse_challenges(value)
        ]
        host = refused.host
        error = refusal(refused, "this")
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
            f"{visible(host)} wants to know who asks, by a way that isn't supported: {offered}",
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
        if credentials is None or not credentials.username:
            raise self._denied("it wants a user and a password, and there are none for it")
        return _basic_header(credentials)

    def _bearer(self, challenge: Challenge, scope: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        scheme = realm.partition("://")[0].lower()
        if scheme not in ("http", "https") or not host_of(realm):
            where = visible(without_query(realm), 100) or "nowhere"
            raise self._denied(f"it sends us for a token to {where}")
        if scheme == "http" and self._host.scheme == "https":
            raise self._denied("it sends us for a token from https to http")
        asked = challenge.parameters.get("scope", "").split()
        scopes = sorted({*asked, *scope.split()})
        credentials = self._find()
        service = challenge.parameters.get("service", "")
        answer = self._ask_for_token(realm, service, scopes, credentials)
        return self._read_token(answer)

    def _ask_for_token(
        self, realm: str, service: str, scopes: list[str], credentials: Credentials | None
    ) -> Answer:
        if credentials is not None and (credentials.secret or credentials.refresh_token):
            answer = self._post(realm, service, scopes, credentials)
            if answer.status not in (400, 401, 404, 405):
                return answer
            if credentials.refresh_token:
                return answer  # a token has no other way in
            answer.close()
        query: list[tuple[str, str]] = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        mark = "&" if "?" in realm else "?"
        url = realm + (mark + urlencode(query) if query else "")
        headers = {"Authorization": _basic_header(credentials)} if credentials else {}
        return self._http.request("GET", url, tls=self._host.tls, headers=headers)

    def _post(
        self, realm: str, service: str, scopes: list[str], credentials: Credentials
    ) -> Answer:
        form = {"service": service, "client_id": _CLIENT, "scope": " ".join(scopes)}
        if credentials.refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": credentials.refresh_token}
        else:
            form |= {
                "grant_type": "password",
                "username": credentials.username,
                "password": credentials.secret,
            }
        return self._http.request(
            "POST",
            realm,
            tls=self._host.tls,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )

    def _read_token(self, answer: Answer) -> _Token:
        if answer.status == 400:
            answer.close()
            raise self._denied(f"{visible(answer.host)} gives us no token")
        if answer.status != 200:
            raise refusal(answer, "a token")
        with answer:
            raw = answer.read(_MAX_ANSWER)
        try:
            told: dict[str, Any] = json.loads(raw)
            token = told.get("access_token") or told.get("token")
            life_s = float(told.get("expires_in") or _USUAL_LIFE_S)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            token, life_s = None, 0.0
        right = isinstance(token, str) and token.isascii() and token.isprintable()
        if not right or not token:
            raise self._denied(f"{visible(answer.host)} gives no token that could be used")
        life_s = life_s if life_s > 0 else _USUAL_LIFE_S  # nor is "not a number" a time
        return _Token(f"Bearer {token}", time.monotonic() + max(life_s - _EARLY_S, life_s / 2))

    def _denied(self, why: str) -> ContentError:
        return Denied(
            f"{visible(self._host.address)} can't be asked: {why}",
            host=self._host.address,
            status=401,
            advice="log in to it (docker login, skopeo login), or give --user",
        )


def parse_challenges(header: str) -> list[Challenge]:
    """The schemes of one WWW-Authenticate header, which may hold several."""
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
