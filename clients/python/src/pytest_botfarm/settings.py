"""What the ini file and the environment say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pytest

from .clock import seconds
from .farm import TTL, WAIT
from .wire import Outcome, Selector

Scope = Literal["test", "worker"]

_SELECTED_BY = {"id": "id", "login": "login", "project": "project_id", "project_id": "project_id"}
_SELECTED_BY |= {"env": "env", "domain": "domain", "condition": "condition"}


@dataclass(frozen=True)
class Settings:
    """How accounts are leased unless a marker says otherwise. Times are in seconds."""

    wanted: Selector
    scope: Scope
    wait: float
    ttl: float
    on_failure: Outcome
    bots: Path | None
    """A file to serve, where no service is named."""

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Raises `pytest.UsageError` for what cannot be."""
        try:
            bots = os.environ.get("BOTFARM_BOTS") or config.getini("botfarm_bots")
            return cls(
                wanted=_wanted(config.getini("botfarm_wanted"), os.environ),
                scope=cast(Scope, _one_of(get_args(Scope), "botfarm_scope", config.getini("botfarm_scope"))),
                wait=_duration("BOTFARM_WAIT", config.getini("botfarm_wait"), WAIT),
                ttl=_duration("BOTFARM_TTL", config.getini("botfarm_ttl"), TTL),
                on_failure=cast(
                    Outcome, _one_of(get_args(Outcome), "botfarm_on_failure", config.getini("botfarm_on_failure"))
                ),
                bots=Path(config.rootpath, bots) if bots else None,
            )
        except ValueError as error:
            raise pytest.UsageError(f"botfarm: {error}") from None


def declare(parser: pytest.Parser) -> None:
    """The settings of the ini file."""
    wanted = "which account, unless a marker says: KEY=VALUE…; env, domain, project, login, id; every other is a label"
    parser.addini("botfarm_wanted", wanted, type="args", default=[])
    parser.addini("botfarm_scope", "how long an account is held: for a `test` (default) or by a `worker`", default="")
    parser.addini("botfarm_wait", "how long to stand in the queue (default 5m)", default="")
    parser.addini("botfarm_ttl", "after how long without a renewal an account is somebody else's (60s)", default="")
    parser.addini("botfarm_on_failure", "what a failed test leaves: clean (default), dirty or broken", default="")
    parser.addini(
        "botfarm_bots", "a file of accounts to serve to this run, when BOTFARM_URL names no service", default=""
    )


def _wanted(parts: Iterable[str], variables: Mapping[str, str]) -> Selector:
    """The ini file's, over what the environment says."""
    named = {"project_id": "BOTFARM_PROJECT", "env": "BOTFARM_ENV", "domain": "BOTFARM_DOMAIN"}
    selector: dict[str, Any] = {key: variables[name] for key, name in named.items() if variables.get(name)}
    labels: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise ValueError(f"botfarm_wanted: {part!r} must be KEY=VALUE")
        if key in _SELECTED_BY:
            selector[_SELECTED_BY[key]] = value
        else:
            labels[key] = value
    if labels:
        selector["labels"] = labels
    return cast(Selector, selector)


def _one_of(known: tuple[str, ...], name: str, value: str) -> str:
    if value and value not in known:
        raise ValueError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r}")
    return value or known[0]


def _duration(variable: str, ini: str, default: float) -> float:
    text = os.environ.get(variable) or ini
    return seconds(text) if text else default
