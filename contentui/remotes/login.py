"""Whether a registry accepts a user and a password.

Source: "API version check" in the distribution project's specification; with a token server the
credentials count when it issues a token that the registry accepts.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument
from contentui.oci.references import parse_reference
from contentui.remotes.auth import Authorizer
from contentui.remotes.credentials import host_of_key
from contentui.remotes.errors import CHECK_ACCOUNT, Denied, Refused, Rejected
from contentui.remotes.hosts import hosts_of
from contentui.remotes.http import Http
from contentui.remotes.response import from_response
from contentui.text import visible

if TYPE_CHECKING:
    from contentui.remotes.response import Response
    from contentui.remotes.settings import Credentials, Host, Settings

_TRY_AGAIN = "check both; with two-factor authentication most registries want an access token"


def parse_host(text: str) -> str:
    """The registry that a person names: ``HOST``, ``HOST:PORT``, or its API's URL.

    Raises:
        InvalidArgument: it is something else.
    """
    name, _, path = re.sub(r"(?i)^https?://", "", text).partition("/")
    name = name.lower()
    if path.strip("/") not in ("", "v1", "v2"):
        raise InvalidArgument(
            f"{visible(text, 200)} is more than a registry",
            advice=f"name the host alone: {visible(name, 200)}",
        )
    host = host_of_key(name)
    try:
        if parse_reference(f"{host}/x").host == host:
            return host
    except InvalidArgument:
        pass
    raise InvalidArgument(
        f"{visible(text, 200)} is not a registry's host",
        advice="write it as registry.example or registry.example:5000",
    )


def try_credentials(host: str, credentials: Credentials, settings: Settings) -> bool:
    """Whether a registry accepted them; False: it asks for none, so that they were not tried.

    Args:
        host: the registry, as in an image's name.
        credentials: a user and a password.
        settings: how it is reached; their own credentials do not matter.

    Raises:
        Rejected: the user or the password is wrong.
        Denied: the way to authenticate is not supported.
        Refused: it is not a registry, or refuses for another reason.
        RetryableError: it can't be reached.
        FailedPrecondition: an invalid hosts.toml.
    """
    target = _host_itself(host, settings)
    url = f"{target.scheme}://{target.address}{target.path}/"
    with closing(Http(settings.timeouts)) as http:

        def ask(authorization: str = "") -> Response:
            headers = dict(target.headers)
            if authorization:
                headers["Authorization"] = authorization
            return http.follow(
                "GET", url, tls=target.tls, headers=headers, timeouts=target.timeouts
            )

        response = ask()
        if response.redirected and response.status == 401:  # no password for another host
            response.close()
            raise Refused(
                f"{visible(host)} redirects to {visible(response.host)}, which asks for"
                " credentials",
                host=host,
                status=401,
                advice=f"they were not sent: log in to {visible(response.host)} if it is yours",
            )
        challenged = response.status == 401
        if challenged:
            header = _answer(http, target, response, credentials, host)
            response = ask(header)
            if response.status == 401:
                response.close()
                raise _rejected(host, credentials, header)
        if response.status == 404:
            response.close()
            raise Refused(
                f"{visible(host)} is not a registry: it has no {target.path}/",
                host=host,
                status=404,
                advice="check the name and the port",
            )
        if not 200 <= response.status < 300:
            response.with_account = challenged
            raise from_response(response, "this")
        response.close()
    return challenged


def _host_itself(name: str, settings: Settings) -> Host:
    """The registry's own host, not a mirror: credentials are looked up by the host's name."""
    found = [host for host in hosts_of(name, settings) if not host.mirror_of]
    return found[-1] if found else hosts_of(name, settings._replace(hosts_dirs=()))[-1]


def _answer(
    http: Http, target: Host, response: Response, credentials: Credentials, host: str
) -> str:
    try:
        return Authorizer(http, target, lambda: credentials).respond(response, "", None)
    except Rejected:
        raise _rejected(host, credentials, "") from None


def _rejected(host: str, credentials: Credentials, header: str) -> Denied:
    name, user = visible(host), visible(credentials.username, 100)
    if header.startswith("Bearer "):
        return Denied(
            f"{name} does not accept the token that its token server issued to {user}",
            host=host,
            status=401,
            advice=CHECK_ACCOUNT,
        )
    return Rejected(
        f"wrong user or password: {name} does not accept the ones given for {user}",
        host=host,
        status=401,
        advice=_TRY_AGAIN,
    )
