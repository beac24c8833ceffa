"""Stands in the queue for accounts, and says why."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import job
from .clock import lasting, now
from .errors import BotfarmError, LeaseLost, NoAccount
from .lease import Lease
from .transport import Transport
from .wire import Selector, User, shown

Report = Callable[[str], None]
"""Where to tell people what is waited for."""

_FIRST_TURN, _TURN, _ANSWER, _LEAVING = 1.0, 10.0, 15.0, 1.0
_NAMED, _LOOKED_AT = 5, 500


@dataclass(frozen=True)
class Request:
    """Which accounts are wanted, for whom, and for how long. Times are in seconds."""

    wanted: Sequence[Selector]
    wait: float
    ttl: float
    holder: str | None
    note: str | None
    sticky: str | None
    avoid: Sequence[str]
    report: Report | None

    def acquire(self, transport: Transport, stop: threading.Event) -> Lease:
        """Asks in turns under one lease id, which keeps the place in the queue. `stop` leaves it, within a turn.

        Raises `NoAccount` when nothing became free in time. After any other error nothing is held.
        """
        lease_id = str(uuid.uuid4())
        body = self._body(lease_id)
        until, length, told = now() + self.wait, _FIRST_TURN, -_TURN
        try:
            while True:
                asked = now()
                turn = max(0.0, min(length, until - asked))
                asking = body | {"wait_seconds": turn}
                try:
                    granted = transport.call("POST", "/leases", asking, timeout=turn + _ANSWER, stop=stop)
                    return Lease(transport, lease_id, granted, asked)
                except NoAccount as shortage:
                    if now() >= until or stop.is_set():
                        raise self._in_vain(shortage, transport) from None
                    if self.report and now() - told >= _TURN - 1:
                        self.report(self._waiting(shortage, transport, until - now()))
                        told = now()
                length = _TURN
                # A service that lets nobody wait answers at once.
                stop.wait(max(0.0, asked + turn - now()))
        except (NoAccount, LeaseLost):
            raise
        except BaseException:
            # A grant that is on its way is given back.
            with contextlib.suppress(BotfarmError):
                transport.call("DELETE", f"/leases/{lease_id}", timeout=_LEAVING, patience=0)
            raise

    def _body(self, lease_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {"id": lease_id, "users": list(self.wanted), "ttl_seconds": self.ttl}
        body["holder"] = self.holder or job.holder(None)
        more = {
            "run": job.run(),
            "note": self.note,
            "url": job.found().url,
            "sticky": self.sticky,
            "avoid": list(self.avoid),
        }
        return body | {name: value for name, value in more.items() if value}

    def _waiting(self, shortage: NoAccount, transport: Transport, left: float) -> str:
        what = f"botfarm: waiting for {shown(self._short(shortage))}, {lasting(left)} more at most: {shortage.detail}"
        return "\n".join([what, *self._holders(shortage, transport)])

    def _in_vain(self, shortage: NoAccount, transport: Transport) -> NoAccount:
        what = f"no account for {shown(self._short(shortage))} within {lasting(self.wait)}: {shortage.detail}"
        text = "\n".join([what, *self._holders(shortage, transport)])
        return NoAccount(text, shortage.code, shortage.problem)

    def _short(self, shortage: NoAccount) -> Selector:
        """The selector that could not be satisfied."""
        return self.wanted[min(int(shortage.problem.get("selector", 0)), len(self.wanted) - 1)]

    def _holders(self, shortage: NoAccount, transport: Transport) -> list[str]:
        """Who holds what is wanted, the longest first. Whoever may not list leases waits all the same."""
        selector = self._short(shortage)
        try:
            leases, _ = transport.page(f"/leases?limit={_LOOKED_AT}", timeout=2, patience=0)
        except BotfarmError:
            return []
        held = [(lease, user) for lease in leases for user in lease["users"] if _fits(user, selector)]
        held.sort(key=lambda pair: str(pair[0]["acquired_at"]))
        lines = [
            f"  {user['login']} is held by {lease['holder']} since {lease['acquired_at']}"
            + (f", {lease['url']}" if lease["url"] else "")
            for lease, user in held[:_NAMED]
        ]
        return lines + ([f"  and {len(held) - _NAMED} more"] if len(held) > _NAMED else [])


def _fits(user: User, selector: Selector) -> bool:
    labels = selector.get("labels") or {}
    return all(
        str(user.get(key, "")).lower() == str(value).lower()
        for key, value in selector.items()
        if key not in ("as", "labels", "condition")
    ) and all(user["labels"].get(key) == value for key, value in labels.items())
