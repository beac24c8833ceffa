"""A lease that is renewed in the background until it is given back."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlencode

from .clock import now
from .errors import BotfarmError, LeaseLost, Unavailable
from .threads import in_thread
from .transport import Transport
from .wire import Outcome

_RELEASE_PATIENCE = 15.0
_RENEW_TIMEOUT = 5.0
_PAUSE_AFTER_TROUBLE = 1.0


@dataclass(eq=False)
class Account:
    """An account that is leased. Its password is in no `repr`."""

    id: str
    login: str
    password: str = field(repr=False)
    project_id: str
    env: str
    domain: str
    labels: Mapping[str, str]
    name: str | None
    """What it was asked for as, among several."""
    fence: int
    """Larger at every hand-out of this account."""
    lease: Lease = field(repr=False)

    @property
    def outcome(self) -> Outcome | None:
        """How the account is given back: None leaves it to the settings. It goes for the whole lease."""
        return self.lease.outcome

    @outcome.setter
    def outcome(self, outcome: Outcome) -> None:
        self.lease.outcome = outcome

    def __str__(self) -> str:
        return f"{self.login} ({self.env})"


class Lease:
    """One or more accounts that are nobody else's until this is released.

    As a context manager (`with` or `async with`) it is released at the end, also after an exception. Whoever leaves it
    otherwise calls `release()`; a process that dies leaves it to the lease's time to live.
    """

    def __init__(self, transport: Transport, lease_id: str, granted: Mapping[str, Any], asked: float) -> None:
        self._transport = transport
        # Not shown to anybody: who has it may renew and release.
        self._path = f"/leases/{lease_id}"
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._lost: LeaseLost | None = None
        self._trouble: BotfarmError | None = None
        self._take(granted, asked)
        self.holder = str(granted["holder"])
        self.outcome: Outcome | None = None
        """How the accounts are left: `clean` unless said otherwise."""
        self.note: str | None = None
        """A remark for the history, at the release."""
        self.accounts = tuple(
            Account(
                id=user["id"],
                login=user["login"],
                password=user["password"],
                project_id=user["project_id"],
                env=user["env"],
                domain=user["domain"],
                labels=dict(user["labels"]),
                name=user["as"],
                fence=user["fence"],
                lease=self,
            )
            for user in granted["users"]
        )
        self._renewer = threading.Thread(target=self._keep, name="botfarm", daemon=True)
        self._renewer.start()

    @property
    def account(self) -> Account:
        """The account; of several, the first."""
        return self.accounts[0]

    def __getitem__(self, name: str) -> Account:
        """The account that was asked for as `name`."""
        for account in self.accounts:
            if account.name == name:
                return account
        names = ", ".join(str(account.name) for account in self.accounts)
        raise KeyError(f"no account was asked for as {name!r}, but as {names}")

    @property
    def lost(self) -> LeaseLost | None:
        """Why the lease was lost, if it is known to be. Asks nobody."""
        if self._lost is None and not self._over.is_set() and now() >= self._until:
            self._lost = self._unrenewed()
        return self._lost

    def check(self) -> None:
        """Renews the lease now. Raises `LeaseLost` when it was lost; a service that is away does not hurt until the
        lease's time is up."""
        if not self._over.is_set():
            self._renew()
        if lost := self.lost:
            raise lost

    def release(self, outcome: Outcome | None = None, note: str | None = None) -> None:
        """Gives the accounts back; again does nothing. Raises `LeaseLost` when they were not ours to the end."""
        with self._lock:
            if self._over.is_set():
                return
            ours = now() < self._until
            self._over.set()
        query = {"outcome": outcome or self.outcome or "clean", "note": note or self.note}
        path = f"{self._path}?{urlencode({key: value for key, value in query.items() if value})}"
        try:
            self._transport.call("DELETE", path, patience=_RELEASE_PATIENCE)
        except LeaseLost as lost:
            self._lost = self._lost or lost
        except Unavailable as trouble:
            self._trouble = trouble
            if ours:
                warnings.warn(f"{trouble}; {self} ends by itself", stacklevel=2)
            else:
                self._lost = self._lost or self._unrenewed()
        if self._lost:
            raise self._lost

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(self.release)

    def abandon(self) -> None:
        """Gives back what nobody has used. Never raises."""
        with contextlib.suppress(BotfarmError):
            self.release()

    def __str__(self) -> str:
        return f"the lease of {', '.join(map(str, self.accounts))} held by {self.holder}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def _take(self, granted: Mapping[str, Any], asked: float) -> None:
        """Reads how long it lives. The answer is at most as old as the question. After a long wait in the queue that
        says little; then a renewal at once gives a close bound."""
        waited = now() - asked > granted["ttl_seconds"] / 10
        self._until = (now() if waited else asked) + cast(float, granted["expires_in_seconds"])
        self._pause = 0.0 if waited else cast(float, granted["renew_after_seconds"])

    def _keep(self) -> None:
        while not self._over.wait(_PAUSE_AFTER_TROUBLE if self._trouble else self._pause):
            self._renew()
            if self._lost:
                return

    def _renew(self) -> None:
        asked = now()
        try:
            granted = self._transport.call("POST", f"{self._path}/renew", {}, timeout=_RENEW_TIMEOUT, patience=0)
        except LeaseLost as lost:
            # A release meanwhile is no loss.
            if not self._over.is_set():
                self._lost = lost
        except BotfarmError as trouble:
            self._trouble = trouble
        else:
            self._take(granted, asked)
            self._trouble = None

    def _unrenewed(self) -> LeaseLost:
        trouble = self._trouble.detail if self._trouble else "this process stood still"
        return LeaseLost(f"{self} ended, because it could not be renewed: {trouble}", "lease-lost")
