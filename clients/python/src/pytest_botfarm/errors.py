"""What goes wrong, by class and by the service's stable code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BotfarmError(Exception):
    """The service refused. `code` is the stable one of its documentation, `problem` all that it said."""

    def __init__(self, detail: str, code: str = "", problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"botfarm: {detail}")
        self.detail = detail
        self.code = code
        self.problem = dict(problem or {})


class LeaseLost(BotfarmError):
    """The lease ended before it was given back: what the test has seen since proves nothing."""


class NoAccount(BotfarmError):
    """No account became free in time (`exhausted`), or the one that was named is held (`busy`)."""


class Unavailable(BotfarmError):
    """The service cannot be reached, or its store cannot."""


KINDS: Mapping[str, type[BotfarmError]] = {
    "lease-lost": LeaseLost,
    "no-such-lease": LeaseLost,
    "exhausted": NoAccount,
    "busy": NoAccount,
    "unavailable": Unavailable,
    "too-many-requests": Unavailable,
}


def from_problem(problem: Mapping[str, Any]) -> BotfarmError:
    """The error that a service's `application/problem+json` tells of."""
    code = str(problem.get("code", ""))
    detail = str(problem.get("detail") or problem.get("title") or "no reason given")
    faults = [f"{fault.get('pointer')} {fault.get('detail')}" for fault in problem.get("errors") or []]
    if faults and not all(fault in detail for fault in faults):
        detail = f"{detail}: {'; '.join(faults)}"
    return KINDS.get(code, BotfarmError)(detail, code, problem)
