"""A farm: the service that knows the accounts, gives them out and takes them back."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlencode

from .lease import Lease
from .queue import Report, Request
from .threads import in_thread
from .transport import Transport
from .wire import ActiveLease, HistoryRow, NewUser, Selector, User, UserChange

WAIT = 300.0
"""How long to stand in the queue, in seconds."""
TTL = 60.0
"""How long a lease lives that nobody renews, in seconds."""
_PAGE = 500


class Farm:
    """A service that leases accounts. By default the one that BOTFARM_URL names, with BOTFARM_TOKEN.

    May be used by several threads at once. Errors are `BotfarmError`s.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, ca_file: str | os.PathLike[str] | None = None
    ) -> None:
        self._transport = Transport.from_environment(url, token, ca_file)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    def lease(
        self,
        *wanted: Selector,
        wait: float = WAIT,
        ttl: float = TTL,
        holder: str | None = None,
        note: str | None = None,
        sticky: str | None = None,
        avoid: Iterable[str] = (),
        report: Report | None = None,
    ) -> Lease:
        """Leases one account for each selector, all or none; without one, any account.

        Stands in the queue for at most `wait` seconds, and tells `report` every 10 s who holds what is wanted. `ttl`
        seconds after the last renewal the accounts are somebody else's. `sticky` prefers the accounts last leased with
        the same text, `avoid` (ids) takes none of these.

        Raises `NoAccount` when nothing became free in time. An interruption leaves the queue.
        """
        request = Request(wanted or (Selector(),), wait, ttl, holder, note, sticky, tuple(avoid), report)
        return request.acquire(self._transport, threading.Event())

    @contextlib.asynccontextmanager
    async def lease_async(
        self,
        *wanted: Selector,
        wait: float = WAIT,
        ttl: float = TTL,
        holder: str | None = None,
        note: str | None = None,
        sticky: str | None = None,
        avoid: Iterable[str] = (),
        report: Report | None = None,
    ) -> AsyncIterator[Lease]:
        """`lease`, for `async with`: neither the wait nor the release holds the event loop up. A task that is cancelled
        leaves the queue, and keeps no account."""
        request = Request(wanted or (Selector(),), wait, ttl, holder, note, sticky, tuple(avoid), report)
        stop = threading.Event()
        lease = await in_thread(lambda: request.acquire(self._transport, stop), stop, Lease.abandon)
        async with lease:
            yield lease

    def users(self, **filters: str) -> Iterator[User]:
        """Accounts, oldest first: all, or those of `project_id`, `env`, `domain`, `login`, `condition`, `label`
        (`key:value`) and `state` (`free`, `leased`, `cooling`)."""
        return self._pages("/users", filters)

    def user(self, user_id: str) -> User:
        """One account."""
        return cast(User, self._transport.call("GET", f"/users/{user_id}"))

    def add_user(self, user: NewUser) -> User:
        """Adds an account."""
        return cast(User, self._change("POST", "/users", user))

    def change_user(self, user_id: str, change: UserChange) -> User:
        """Changes an account. Some changes are refused while it is leased."""
        return cast(User, self._change("PATCH", f"/users/{user_id}", change))

    def remove_user(self, user_id: str) -> None:
        """Removes an account that is free."""
        self._change("DELETE", f"/users/{user_id}")

    def history(self, user_id: str) -> Iterator[HistoryRow]:
        """Who had the account, newest first."""
        return self._pages(f"/users/{user_id}/history", {})

    def leases(self) -> Iterator[ActiveLease]:
        """The leases in force."""
        return self._pages("/leases", {})

    def revoke(self, user_id: str, reason: str) -> None:
        """Ends whatever lease holds the account, all of it. For admins."""
        self._change("POST", f"/users/{user_id}/revoke", {"reason": reason})

    def _change(self, method: str, path: str, body: object = None) -> Any:
        """Done once, however often it has to be asked for."""
        return self._transport.call(method, path, body, key=str(uuid.uuid4()))

    def _pages(self, path: str, filters: Mapping[str, str]) -> Iterator[Any]:
        query = {**filters, "limit": str(_PAGE)}
        while True:
            items, cursor = self._transport.page(f"{path}?{urlencode(query)}")
            yield from items
            if cursor is None:
                return
            query["cursor"] = cursor
