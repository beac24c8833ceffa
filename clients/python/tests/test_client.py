"""The client without pytest's fixtures."""

from __future__ import annotations

import asyncio
import http.server
import subprocess
import sys
import threading
import time

import pytest
from conftest import PROJECT, Service

from pytest_botfarm import BotfarmError, Farm, LeaseLost, NoAccount, Unavailable
from pytest_botfarm.transport import VersionWarning


def test_it_needs_no_pytest() -> None:
    code = "import sys, pytest_botfarm; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_accounts_are_added_changed_listed_and_removed(service: Service) -> None:
    farm = service.farm
    added = farm.add_user(
        {"login": "dan@shop.example", "password": "s3cret-dan", "project_id": PROJECT, "env": "preprod"}
    )
    assert farm.change_user(added["id"], {"labels": {"role": "guest"}})["labels"] == {"role": "guest"}
    assert [user["login"] for user in farm.users(env="preprod")] == ["dan@shop.example"]
    assert [user["login"] for user in farm.users(label="role:guest")] == ["dan@shop.example"]
    farm.remove_user(added["id"])
    with pytest.raises(BotfarmError) as gone:
        farm.user(added["id"])
    assert gone.value.code == "no-such-user"


def test_a_service_of_another_version_is_told_of_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_botfarm.transport._NAME", "pytest-botfarm/99.0.0")
    with pytest.warns(VersionWarning, match="older than pytest-botfarm 99.0.0.*: update the service") as told:
        service.farm.user(service.user("ada"))
        with pytest.raises(BotfarmError):
            service.farm.user("00000000-0000-4000-8000-000000000000")
    assert len(told) == 1


def test_lists_go_on_over_pages(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_botfarm.farm._PAGE", 1)
    logins = [user["login"].partition("@")[0] for user in service.farm.users()]
    assert logins == ["ada", "ben", "cleo"]


def test_a_lease_is_given_back_with_its_outcome_and_a_remark(service: Service) -> None:
    with service.farm.lease({"login": "ada@shop.example"}, holder="a script", note="nightly") as lease:
        assert [active["holder"] for active in service.farm.leases()] == ["a script"]
        lease.outcome, lease.note = "dirty", "the cart is full"
    row = next(service.farm.history(service.user("ada")))
    assert (row["note"], row["outcome"], row["end_note"], row["reason"]) == (
        "nightly",
        "dirty",
        "the cart is full",
        "released",
    )
    lease.release()


def test_a_lease_is_renewed(service: Service) -> None:
    with service.farm.lease({"login": "ada@shop.example"}, ttl=5) as lease:
        time.sleep(8)
        assert lease.lost is None
        lease.check()
        assert service.held() == ["ada"]


def test_a_lease_that_cannot_be_renewed_in_time_is_lost(service: Service) -> None:
    lease = Farm().lease({"login": "ada@shop.example"}, ttl=5)
    service.door.shut()
    time.sleep(5.5)
    assert isinstance(lease.lost, LeaseLost)
    service.door.open()
    with pytest.raises(LeaseLost, match=r"could not be renewed|expired"):
        lease.release()


def test_a_lease_held_to_the_end_is_not_lost_because_the_service_is_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_botfarm.lease._RELEASE_PATIENCE", 0.5)
    lease = Farm().lease({"login": "ada@shop.example"}, ttl=5)
    service.door.shut()
    with pytest.warns(
        UserWarning, match=r"cannot be reached.*the lease of ada@shop.example \(stage\).* ends by itself"
    ):
        lease.release()
    service.door.open()


def test_nobody_waits_for_a_service_again_that_was_away_for_long(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_botfarm.transport.PATIENCE", 0.5)
    farm = Farm()
    service.door.shut()
    durations = []
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached"):
            farm._transport.call("GET", "/users?limit=1", patience=0.5)
        durations.append(time.monotonic() - begun)
    assert durations[0] > 0.2 > durations[1]
    service.door.open()
    assert [user["login"] for user in farm.users()][:1] == ["ada@shop.example"]


def test_async_leases_do_not_hold_the_loop_up(service: Service) -> None:
    async def run() -> list[str]:
        seen: list[str] = []

        async def visit(number: int) -> None:
            async with service.farm.lease_async({"labels": {"role": "member"}}, holder=f"task {number}") as lease:
                seen.append(lease.account.login)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(visit(number) for number in range(40)))
        return seen

    assert len(asyncio.run(run())) == 40
    assert service.held() == []


def test_a_task_that_is_cancelled_leaves_the_queue(service: Service) -> None:
    async def run() -> None:
        wanted = service.farm.lease_async({"login": "ada@shop.example"}, holder="impatient")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wanted.__aenter__(), 0.5)

    with service.farm.lease({"login": "ada@shop.example"}, holder="first"):
        asyncio.run(run())
    deadline = time.monotonic() + 15
    with service.farm.lease({"login": "ada@shop.example"}, holder="next"):
        assert time.monotonic() < deadline
    holders = [row["holder"] for row in service.farm.history(service.user("ada"))]
    assert holders[0] == "next" and holders[-1] == "first"


def test_an_interrupted_wait_leaves_the_queue(service: Service) -> None:
    def interrupt(text: str) -> None:
        assert "ada@shop.example is held by first" in text
        raise KeyboardInterrupt

    with service.farm.lease({"login": "ada@shop.example"}, holder="first"):
        with pytest.raises(KeyboardInterrupt):
            service.farm.lease({"login": "ada@shop.example"}, report=interrupt)
    with service.farm.lease({"login": "ada@shop.example"}, wait=0):
        pass


def test_without_a_wait_it_asks_once(service: Service) -> None:
    with service.farm.lease({"login": "ada@shop.example"}, holder="first"):
        with pytest.raises(NoAccount, match="held by first") as busy:
            service.farm.lease({"login": "ada@shop.example"}, wait=0)
    assert busy.value.code in ("busy", "exhausted")


def test_no_repr_shows_a_password_or_the_lease(service: Service) -> None:
    with service.farm.lease() as lease:
        shown = f"{lease!r} {lease} {lease.account!r} {lease.account} {lease.accounts!r}"
        assert lease.account.password == "s3cret-ada"
        assert "s3cret" not in shown and lease._path.rpartition("/")[2] not in shown


def test_a_redirect_is_not_followed_with_the_token() -> None:
    asked: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        farm = Farm(f"http://127.0.0.1:{server.server_port}", token="bf_s3cret")
        with pytest.raises(BotfarmError, match=r"answered 302 .*is this the URL of a botfarm service\?"):
            list(farm.users())
        server.shutdown()
    assert asked == ["/api/v1/users?limit=500"]
