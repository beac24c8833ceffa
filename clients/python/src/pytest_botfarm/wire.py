"""What the service reads and writes, as it is in JSON. https://…/docs of a service describes every field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

Condition = Literal["ready", "dirty", "broken"]
Outcome = Literal["clean", "dirty", "broken"]

# The functional form: `as` is a word of Python's own.
Selector = TypedDict(
    "Selector",
    {
        "as": str,
        "id": str,
        "login": str,
        "project_id": str,
        "env": str,
        "domain": str,
        "labels": Mapping[str, str],
        "condition": Condition,
    },
    total=False,
)
"""Which account is wanted: whatever is given must match."""


class HeldBy(TypedDict):
    """Who holds an account. Times are RFC 3339."""

    holder: str
    run: str | None
    note: str | None
    url: str | None
    since: str
    expires_at: str


class User(TypedDict):
    """An account as everybody may see it: without its password."""

    id: str
    login: str
    project_id: str
    env: str
    domain: str
    labels: dict[str, str]
    condition: Condition
    created_at: str
    locktime: str | None
    cooling_until: str | None
    lease: HeldBy | None


class _NewUser(TypedDict):
    login: str
    password: str
    project_id: str
    env: str


class NewUser(_NewUser, total=False):
    """An account to add."""

    domain: str
    labels: Mapping[str, str]


class UserChange(TypedDict, total=False):
    """What to change of an account."""

    password: str
    labels: Mapping[str, str]
    condition: Condition
    domain: str
    project_id: str


class ActiveLease(TypedDict):
    """A lease in force, without its id and without passwords."""

    holder: str
    run: str | None
    note: str | None
    url: str | None
    acquired_at: str
    expires_at: str
    users: list[User]


class HistoryRow(TypedDict):
    """One hand-out of an account. `to` and what follows are null while it lasts."""

    user_id: str
    fence: int
    project_id: str
    holder: str
    run: str | None
    owner: str | None
    address: str | None
    request_id: str | None
    note: str | None
    url: str | None
    to: str | None
    reason: Literal["released", "expired", "revoked"] | None
    outcome: Outcome | None
    by: str | None
    end_note: str | None


def shown(selector: Mapping[str, Any]) -> str:
    """A selector for people: `env=stage role=admin`."""
    parts = [f"{key}={value}" for key, value in selector.items() if key not in ("as", "labels")]
    parts += [f"{key}={value}" for key, value in dict(selector.get("labels") or {}).items()]
    return " ".join(parts) or "any account"
