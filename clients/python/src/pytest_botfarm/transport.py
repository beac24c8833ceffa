"""The one place where requests leave and answers arrive."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
import warnings
from email.message import Message
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from .clock import now
from .errors import BotfarmError, Unavailable, from_problem

PATIENCE = 30.0
"""How long a service may be away, in seconds: as long as it keeps a place in the queue."""

_PASSING = {408, 502, 503, 504}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_NAME = f"pytest-botfarm/{version('pytest-botfarm')}"


class VersionWarning(UserWarning):
    """The service and this package are not made for each other; shown once."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along to wherever it leads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class Transport:
    """A service, and how to reach it. May be used by several threads at once."""

    def __init__(self, url: str, token: str | None = None, ca_file: str | os.PathLike[str] | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            scheme = f"{parts.scheme}:…" if parts.scheme else repr(url)
            raise BotfarmError(f"BOTFARM_URL must be the http(s):// address of a service, not {scheme}", "invalid")
        if parts.username is not None:
            raise BotfarmError("BOTFARM_URL must not have a password in it; BOTFARM_TOKEN says who asks", "invalid")
        self.url = url.rstrip("/")
        self._token = token
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=ca_file)
            except (OSError, ssl.SSLError) as error:
                raise BotfarmError(f"BOTFARM_CA_FILE: {ca_file}: {error}", "invalid") from None
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._given_up = False
        self._noticed = False

    @classmethod
    def from_environment(
        cls, url: str | None = None, token: str | None = None, ca_file: str | os.PathLike[str] | None = None
    ) -> Transport:
        """By BOTFARM_URL, BOTFARM_TOKEN (each also with _FILE) and BOTFARM_CA_FILE, as far as nothing else is given."""
        url = url or variable("BOTFARM_URL") or "http://127.0.0.1:8000"
        return cls(url, token or variable("BOTFARM_TOKEN"), ca_file or os.environ.get("BOTFARM_CA_FILE") or None)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float = 10.0,
        patience: float = PATIENCE,
        key: str | None = None,
        stop: threading.Event | None = None,
    ) -> Any:
        """What the service answers, as JSON. See `send`."""
        answer, _ = self.send(method, path, body, timeout=timeout, patience=patience, key=key, stop=stop)
        return answer

    def page(self, path: str, *, timeout: float = 10.0, patience: float = PATIENCE) -> tuple[list[Any], str | None]:
        """A page of a list, and the cursor of the next one."""
        items, headers = self.send("GET", path, timeout=timeout, patience=patience)
        for link in headers.get_all("Link") or []:
            if 'rel="next"' in link:
                query = urllib.parse.urlsplit(link.partition("<")[2].partition(">")[0]).query
                return items, urllib.parse.parse_qs(query)["cursor"][0]
        return items, None

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float = 10.0,
        patience: float = PATIENCE,
        key: str | None = None,
        stop: threading.Event | None = None,
    ) -> tuple[Any, Message]:
        """What the service answers, as JSON, and its headers.

        A call that gets no answer is made again for `patience` seconds, or until `stop` is set. Every call may be: it
        looks, or names its lease, or carries the idempotency key `key`. After a service was out of reach for that long,
        one try is enough, lest every test of a suite waits anew.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": _NAME}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        pause, failing_since = _FIRST_PAUSE, None
        while True:
            begun = now()
            request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)
            try:
                answer = self._exchange(request, timeout)
            except Unavailable as error:
                failing_since = begun if failing_since is None else failing_since
                if self._given_up or now() - failing_since + pause > patience or (stop and stop.is_set()):
                    self._given_up = self._given_up or patience >= PATIENCE
                    raise error from None
                (stop or threading.Event()).wait(pause * random.uniform(1, 1.5))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._given_up = False
                return answer

    def _exchange(self, request: urllib.request.Request, timeout: float) -> tuple[Any, Message]:
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                text, headers = answer.read(), answer.headers
                self._notice(headers)
        except urllib.error.HTTPError as error:
            with error:
                self._notice(error.headers)
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        try:
            return json.loads(text or b"null"), headers
        except ValueError:
            raise BotfarmError(f"{self.url} answered what is no JSON; is it a botfarm service?") from None

    def _notice(self, headers: Message) -> None:
        notice = headers.get("Botfarm-Notice")
        if notice and not self._noticed:
            self._noticed = True
            warnings.warn(re.sub("[^ -~]", "?", notice), VersionWarning, stacklevel=2)

    def _refusal(self, error: urllib.error.HTTPError) -> BotfarmError:
        try:
            problem = json.loads(error.read())
        except (OSError, http.client.HTTPException, ValueError):
            problem = None
        if isinstance(problem, dict) and "code" in problem:
            return from_problem(problem)
        detail = f"the service at {self.url} answered {error.code} {error.reason}"
        if error.code in _PASSING:
            return Unavailable(detail, "unavailable")
        return BotfarmError(f"{detail}; is this the URL of a botfarm service?")

    def _unreachable(self, error: Exception) -> BotfarmError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            hint = "if it is the right service, name a file with its authority in BOTFARM_CA_FILE"
            return BotfarmError(f"the certificate of {self.url} is not trusted ({reason.verify_message}); {hint}")
        hint = "" if os.environ.get("BOTFARM_URL") else "; BOTFARM_URL says where it is"
        return Unavailable(f"the service at {self.url} cannot be reached: {reason}{hint}", "unavailable")


def variable(name: str) -> str | None:
    """An environment variable, or the content of the file that the one with `_FILE` names."""
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and path:
        raise BotfarmError(f"{name} and {name}_FILE are both set; set one of them", "invalid")
    if not path:
        return value or None
    try:
        return Path(path).read_text().strip() or None
    except OSError as error:
        raise BotfarmError(f"{name}_FILE: {error}", "invalid") from None
