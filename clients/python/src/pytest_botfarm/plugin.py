"""The plugin: the fixtures `account`, `accounts` and `botfarm`, their markers, and what reports say of them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Iterator, Mapping
from typing import Any, cast

import pytest

from . import job, settings
from .errors import BotfarmError, LeaseLost
from .farm import Farm
from .lease import Account, Lease
from .service import Service
from .settings import Settings
from .wire import Selector

_KNOWN = pytest.StashKey[Settings]()
_FARM = pytest.StashKey[Farm]()
_SERVICE = pytest.StashKey[Service]()
_LEASES = pytest.StashKey[list[Lease]]()
"""Of a test: what it holds."""
_TIMER = pytest.StashKey[Any]()
"""Of a test: how pytest-timeout has set its timer."""
_URL = "botfarm_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "account(env, domain, labels, login, …): which account the test has")
    config.addinivalue_line("markers", "accounts(NAME={…}, …): which accounts the test has, all or none of them")
    config.stash[_KNOWN] = known = Settings.of(config)
    named = os.environ.get("BOTFARM_URL") or os.environ.get("BOTFARM_URL_FILE") or hasattr(config, "workerinput")
    if known.bots and not named and not config.option.collectonly:
        try:
            config.stash[_SERVICE] = Service(known.bots)
        except BotfarmError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The workers of pytest-xdist share the service that was started for the run."""
    if service := node.config.stash.get(_SERVICE, None):
        node.workerinput[_URL] = service.url


def pytest_unconfigure(config: pytest.Config) -> None:
    if service := config.stash.get(_SERVICE, None):
        service.stop()
        del config.stash[_SERVICE]


def _farm(config: pytest.Config) -> Farm:
    """Opened when a test first asks for it: a suite without accounts needs no farm."""
    if _FARM not in config.stash:
        service = config.stash.get(_SERVICE, None)
        url = service.url if service else getattr(config, "workerinput", {}).get(_URL)
        config.stash[_FARM] = Farm(url)
    return config.stash[_FARM]


def pytest_report_header(config: pytest.Config) -> str:
    if _SERVICE in config.stash:
        where = f"{config.stash[_KNOWN].bots}, served to this run alone"
    else:
        try:
            where = _farm(config).url
        except BotfarmError as error:
            return str(error)
    return f"botfarm: {where}, as {job.holder(None)}"


def _scope(fixture_name: str, config: pytest.Config) -> str:
    return "session" if config.stash[_KNOWN].scope == "worker" else "function"


@pytest.fixture(scope="session")
def botfarm(pytestconfig: pytest.Config) -> Farm:
    """The farm, for whatever else a test wants of it."""
    return _farm(pytestconfig)


@pytest.fixture(scope=cast(Any, _scope))
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """An account that is this test's alone (or this worker's, with `botfarm_scope = worker`)."""
    known = request.config.stash[_KNOWN]
    marker = None if request.scope == "session" else request.node.get_closest_marker("account")
    with _leased(request, [_merged(known.wanted, marker.kwargs if marker else {})]) as lease:
        yield lease.account


@pytest.fixture
def accounts(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Account]]:
    """Several accounts by the names that the marker `accounts` gives them, granted all or none."""
    known = request.config.stash[_KNOWN]
    marker = request.node.get_closest_marker("accounts")
    if marker is None or not marker.kwargs:
        pytest.fail('which accounts? Say @pytest.mark.accounts(admin={"labels": {…}}, member={…})', pytrace=False)
    wanted = [_merged(known.wanted, {**more, "as": name}) for name, more in marker.kwargs.items()]
    with _leased(request, wanted) as lease:
        yield {str(each.name): each for each in lease.accounts}


class _leased:
    """A lease for as long as a fixture lives."""

    def __init__(self, request: pytest.FixtureRequest, wanted: list[Selector]) -> None:
        self._request, self._wanted = request, wanted

    def __enter__(self) -> Lease:
        config = self._request.config
        known = config.stash[_KNOWN]
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        of_worker = self._request.scope == "session"
        name = f"pytest {worker}".strip() if of_worker else self._request.node.nodeid
        timer = _Timer(self._request)
        timer.stop()
        try:
            self._lease = _farm(config).lease(
                *self._wanted,
                wait=known.wait,
                ttl=known.ttl,
                holder=job.holder(name),
                sticky=f"{socket.gethostname()} {config.rootpath} {worker}"[-200:].strip() if of_worker else None,
                report=lambda text: _tell(config, text),
            )
        except BotfarmError as error:
            pytest.fail(str(error), pytrace=False)
        finally:
            timer.start()
        owner = self._request.session if of_worker else self._request.node
        owner.stash.setdefault(_LEASES, []).append(self._lease)
        return self._lease

    def __exit__(self, *_: object) -> None:
        try:
            self._lease.release()
        except LeaseLost as lost:
            # Each test of a worker has found out by itself whether it was lost until then.
            if self._request.scope != "session":
                pytest.fail(f"{lost}: what the test has seen proves nothing", pytrace=False)


class _Timer:
    """The timer of pytest-timeout, which a wait must not use up."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        # A fixture of the session is set up for the test that asks first.
        self._item = getattr(request, "_pyfuncitem", None)
        self._set = self._item.stash.get(_TIMER, None) if self._item is not None else None

    def stop(self) -> None:
        if self._set is not None:
            assert self._item is not None
            self._item.config.hook.pytest_timeout_cancel_timer(item=self._item)

    def start(self) -> None:
        if self._set is not None:
            assert self._item is not None
            self._item.config.hook.pytest_timeout_set_timer(item=self._item, settings=self._set)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Remembers it, and leaves it to others to set the timer."""
    item.stash[_TIMER] = settings


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """A test whose account was taken away meanwhile has failed, whatever it has seen."""
    leases = _held(item)
    for lease in leases:
        for each in lease.accounts:
            item.user_properties.append(("account" if each.name is None else f"account {each.name}", str(each)))
        item.user_properties.append(("held by", lease.holder))
    outcome = yield
    if outcome.excinfo is None:
        try:
            for lease in item.session.stash.get(_LEASES, []) if leases else []:
                lease.check()
            # That of a test is released in a moment, which tells, too.
            if lost := next((lease.lost for lease in leases if lease.lost), None):
                raise lost
        except LeaseLost as lost:
            outcome.force_exception(pytest.fail.Exception(f"{lost}: what the test has seen proves nothing", False))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.when == "teardown" or not report.failed:
        return
    for lease in _held(item):
        if lease.outcome is None:
            lease.outcome = item.config.stash[_KNOWN].on_failure
        who = ", ".join(map(str, lease.accounts))
        report.sections.append(("botfarm", f"{who}, held by {lease.holder}, is left {lease.outcome}"))


def _held(item: pytest.Item) -> list[Lease]:
    """What the test holds; of what its worker holds, only if the test asks for it."""
    own = item.stash.get(_LEASES, [])
    shared = item.session.stash.get(_LEASES, []) if "account" in getattr(item, "fixturenames", ()) else []
    return [*own, *shared]


def _merged(common: Selector, more: Mapping[str, Any]) -> Selector:
    """`more` over `common`, label by label."""
    labels = {**common.get("labels", {}), **more.get("labels", {})}
    return cast(Selector, {**common, **more} | ({"labels": labels} if labels else {}))


def _tell(config: pytest.Config, text: str) -> None:
    """Past the capture: a wait is to be seen while it lasts."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        print(text, file=sys.stderr, flush=True)
        return
    with capture.global_and_fixture_disabled():
        print(text, file=sys.stderr, flush=True)
