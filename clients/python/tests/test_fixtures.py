"""What a suite sees of its accounts."""

from __future__ import annotations

import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import Service

ALONE = """
    import contextlib, os, pathlib, pytest, time

    @contextlib.contextmanager
    def alone(account):
        # Fails when somebody else is in here with the same account.
        file = pathlib.Path(os.environ["SHARED"], account.login)
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
        try:
            time.sleep(0.02)
            yield
        finally:
            file.unlink()
"""


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv("SHARED", str(folder))
    return folder


@pytest.mark.parametrize("scope", ["test", "worker"])
def test_workers_never_share_an_account(pytester: pytest.Pytester, service: Service, scope: str) -> None:
    pytester.makeini(f"[pytest]\nbotfarm_scope = {scope}")
    pytester.makepyfile(f"""
    {ALONE}
    @pytest.mark.parametrize("number", range(30))
    def test_visit(account, number):
        with alone(account):
            pass
    """)
    # Those of a worker are held to its end: no more workers than accounts.
    workers = {"test": "8", "worker": "3"}[scope]
    pytester.runpytest_subprocess("-n", workers).assert_outcomes(passed=30)
    assert service.held() == []
    histories = [len(list(service.farm.history(user["id"]))) for user in service.farm.users()]
    assert sum(histories) == {"test": 30, "worker": 3}[scope]


def test_without_botfarm_they_would(pytester: pytest.Pytester) -> None:
    """The test above can fail."""
    pytester.makepyfile(f"""
    {ALONE}
    @pytest.mark.parametrize("number", range(30))
    def test_visit(number):
        class account:
            login = "ada"
        with alone(account):
            pass
    """)
    assert pytester.runpytest_subprocess("-n", "8").parseoutcomes()["failed"] > 0


@pytest.mark.parametrize("scope", ["test", "worker"])
def test_a_lost_lease_fails_the_test(
    pytester: pytest.Pytester, service: Service, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECT", service.farm.url)
    pytester.makeini(f"[pytest]\nbotfarm_scope = {scope}\nbotfarm_wanted = role=admin")
    pytester.makepyfile("""
    import os
    from pytest_botfarm import Farm

    def test_loses_it(account):
        Farm(os.environ["DIRECT"]).revoke(account.id, "somebody needs it")
    """)
    result = pytester.runpytest_subprocess()
    assert result.parseoutcomes() == {"test": {"passed": 1, "errors": 1}, "worker": {"failed": 1}}[scope]
    result.stdout.fnmatch_lines(["*botfarm: *revoked*somebody needs it*what the test has seen proves nothing*"])


@pytest.mark.parametrize("scope", ["test", "worker"])
@pytest.mark.parametrize(("setting", "left"), [("", "ready"), ("dirty", "dirty"), ("broken", "broken")])
def test_a_failed_test_leaves_its_account_as_the_setting_says(
    pytester: pytest.Pytester, service: Service, setting: str, left: str, scope: str
) -> None:
    pytester.makeini(f"[pytest]\nbotfarm_on_failure = {setting}\nbotfarm_scope = {scope}\nbotfarm_wanted = role=admin")
    pytester.makepyfile("def test_fails(account): assert account.login == 'somebody else'")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"ada@shop.example (stage), held by *is left {setting or 'clean'}"])
    assert service.conditions() == {"ada": left, "ben": "ready", "cleo": "ready"}


def test_a_test_that_passes_leaves_its_account_clean_unless_it_says_otherwise(
    pytester: pytest.Pytester, service: Service
) -> None:
    pytester.makeini("[pytest]\nbotfarm_on_failure = broken")
    pytester.makepyfile("""
    import pytest

    @pytest.mark.account(labels={"role": "admin"})
    def test_leaves_it_dirty(account):
        account.outcome = "dirty"

    def test_leaves_it_clean(account):
        pass
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=2)
    assert service.conditions() == {"ada": "dirty", "ben": "ready", "cleo": "ready"}


def test_a_service_that_is_away_for_ten_seconds_does_not_hurt(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makeini("[pytest]\nbotfarm_ttl = 15s")
    pytester.makepyfile("""
    import time, pytest

    # One holds while the service goes away, the others ask for theirs meanwhile, or give theirs back.
    @pytest.mark.parametrize("seconds", [12, 0.5, 0, 0, 0])
    def test_goes_on(account, seconds):
        time.sleep(seconds)
    """)

    def cut() -> None:
        deadline = time.monotonic() + 60
        while not service.held() and time.monotonic() < deadline:
            time.sleep(0.01)
        service.door.shut()
        time.sleep(10)
        service.door.open()

    cutter = threading.Thread(target=cut)
    cutter.start()
    result = pytester.runpytest_subprocess("-n", "2")
    cutter.join()
    result.assert_outcomes(passed=5)
    assert service.held() == []


def test_a_wait_says_who_holds_and_takes_nothing_of_the_timeout(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makepyfile("""
    import pytest

    @pytest.mark.timeout(2)
    @pytest.mark.account(labels={"role": "admin"})
    def test_waits(account):
        pass

    @pytest.mark.timeout(2)
    @pytest.mark.account(labels={"role": "admin"})
    def test_hangs(account):
        import time
        time.sleep(20)
    """)
    lease = service.farm.lease({"labels": {"role": "admin"}}, holder="the night shift")

    def release_in_a_while() -> None:
        deadline = time.monotonic() + 60
        while not service.waiting() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(4)
        lease.release()

    threading.Thread(target=release_in_a_while).start()
    result = pytester.runpytest_subprocess("-o", "timeout_method=signal")
    result.assert_outcomes(passed=1, failed=1)
    result.stderr.fnmatch_lines(
        ["botfarm: waiting for role=admin, ?m *s more at most: *", "  ada@shop.example is held by the night shift*"]
    )
    assert "waiting" not in result.stdout.str()


def test_in_vain_a_wait_says_who_holds(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makeini("[pytest]\nbotfarm_wait = 1s\nbotfarm_wanted = role=admin")
    pytester.makepyfile("def test_waits(account): pass")
    with service.farm.lease({"labels": {"role": "admin"}}, holder="the night shift"):
        result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*no account for role=admin within 1s*", "*ada@shop.example is held by the night shift*"]
    )


def test_what_no_account_could_be_is_refused_at_once(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makepyfile("""
    import pytest

    @pytest.mark.account(labels={"role": "emperor"})
    def test_never(account): pass

    @pytest.mark.account(role="admin")
    def test_misspelt(account): pass
    """)
    begun = time.monotonic()
    result = pytester.runpytest_subprocess()
    assert time.monotonic() - begun < 20
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*botfarm: *emperor*"])
    result.stdout.fnmatch_lines(["*botfarm: */users/0/role*"])


def test_several_accounts_come_together(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makeini("[pytest]\nbotfarm_wanted = env=stage")
    pytester.makepyfile("""
    import pytest

    @pytest.mark.accounts(boss={"labels": {"role": "admin"}}, staff={"labels": {"role": "member"}})
    @pytest.mark.parametrize("number", range(8))
    def test_together(accounts, number):
        assert accounts["boss"].labels["role"] == "admin"
        assert accounts["staff"].labels["role"] == "member"

    def test_which(accounts): pass
    """)
    result = pytester.runpytest_subprocess("-n", "4")
    result.assert_outcomes(passed=8, errors=1)
    result.stdout.fnmatch_lines(["*which accounts? Say*"])
    assert service.held() == []


def test_reports_say_which_account_and_who_held_it_and_no_secret(
    pytester: pytest.Pytester, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JENKINS_URL", "https://jenkins.example.com/")
    monkeypatch.setenv("JOB_NAME", "shop")
    monkeypatch.setenv("BUILD_NUMBER", "12")
    monkeypatch.setenv("BUILD_URL", "https://jenkins.example.com/job/shop/12/")
    pytester.makeini("[pytest]\nbotfarm_wanted = role=admin")
    pytester.makepyfile("""
    def test_fails(account):
        lease = account.lease
        assert account == lease
    """)
    result = pytester.runpytest_subprocess("--junitxml=report.xml", "--showlocals", "-vv")
    result.stdout.fnmatch_lines(["botfarm: http://127.0.0.1:*, as Jenkins shop #12"])
    report = Path(pytester.path, "report.xml")
    properties = {each.get("name"): each.get("value") for each in ElementTree.parse(report).iter("property")}
    held = "test_reports_say_which_account_and_who_held_it_and_no_secret.py::test_fails, Jenkins shop #12"
    assert properties == {"account": "ada@shop.example (stage)", "held by": held}
    row = next(service.farm.history(service.user("ada")))
    assert (row["holder"], row["run"]) == (held, "Jenkins shop 12")
    assert row["url"] == "https://jenkins.example.com/job/shop/12/"
    for said in (result.stdout.str(), result.stderr.str(), report.read_text()):
        assert "s3cret" not in said
        assert "/leases/" not in said


def test_an_account_is_there_in_async_tests(pytester: pytest.Pytester, service: Service) -> None:
    pytester.makepyfile("""
    import asyncio, pytest

    @pytest.mark.asyncio
    async def test_waits_for_nothing(account):
        await asyncio.sleep(0)
        assert account.password == f"s3cret-{account.login.partition('@')[0]}"
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "says"),
    [
        ("botfarm_scope = module", "botfarm_scope must be test or worker, not 'module'"),
        ("botfarm_on_failure = bad", "botfarm_on_failure must be clean, dirty or broken, not 'bad'"),
        ("botfarm_wait = 5", "'5' is no duration: write 90s, 5m or 1h 30m"),
        ("botfarm_wanted = stage", "'stage' must be KEY=VALUE"),
        ("botfarm_bots = none.csv", "none.csv cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_is_said_at_the_start(pytester: pytest.Pytester, ini: str, says: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


def test_a_farm_that_is_no_service_hurts_only_who_asks_for_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTFARM_URL", "postgres://ann:s3cret@db/farm")
    pytester.makepyfile("""
    def test_needs_none(): pass
    def test_needs_one(account): pass
    """)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*BOTFARM_URL must be the http(s):// address of a service, not postgres:*"])
    assert "s3cret" not in result.stdout.str()
