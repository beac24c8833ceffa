"""Leases a test account for each test that asks for one.

Copy this file into your suite. A test that has `account` among its arguments holds it alone until it ends:

    def test_checkout(account):
        sign_in(account.login, account.password)

    @pytest.mark.account(env="stage", labels={"role": "admin"})
    def test_refund(account):
        account.outcome = "dirty"  # the test leaves it changed: nobody gets it before it was cleaned

BOTFARM_URL says where the service is, BOTFARM_TOKEN who asks. Needs nothing but pytest.
"""

import json
import os
import threading
import urllib.error
import urllib.request
import uuid

import pytest

FARM = os.environ.get("BOTFARM_URL", "http://127.0.0.1:8000") + "/api/v1"
TTL_SECONDS = 60
WAIT_SECONDS = 280
TRIES = 5


def call(method, path, body=None):
    """What the farm answers. It is asked again when it cannot be reached: that never takes a second account, because
    the lease's id is ours."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("BOTFARM_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    for pause in [*range(1, TRIES), None]:
        try:
            request = urllib.request.Request(FARM + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS + 20) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != 503 or pause is None:
                raise RuntimeError(f"botfarm: {error.read().decode()}") from None
        except OSError as error:
            if pause is None:
                raise RuntimeError(f"botfarm cannot be reached at {FARM}: {error}") from None
        threading.Event().wait(pause)


class Account:
    """A leased account. Its lease is renewed in the background."""

    def __init__(self, selector, holder):
        self._path = f"/leases/{uuid.uuid4()}"
        self._ended = threading.Event()
        self.outcome = "clean"
        asked = {"id": self._path.rpartition("/")[2], "users": [selector], "holder": holder}
        lease = call("POST", "/leases", asked | {"ttl_seconds": TTL_SECONDS, "wait_seconds": WAIT_SECONDS})
        user = lease["users"][0]
        self.id, self.login, self.password, self.labels = (user[key] for key in ("id", "login", "password", "labels"))
        threading.Thread(target=self._renew, args=[lease["renew_after_seconds"]], daemon=True).start()

    def _renew(self, seconds):
        while not self._ended.wait(seconds):
            try:
                call("POST", f"{self._path}/renew")
            except RuntimeError:
                pass  # Whether the lease has lasted is what the release says.

    def release(self):
        """Gives it back. Fails when it was not ours to the end: what the test has seen proves nothing then."""
        self._ended.set()
        call("DELETE", f"{self._path}?outcome={self.outcome}")


@pytest.fixture
def account(request):
    marker = request.node.get_closest_marker("account")
    leased = Account(marker.kwargs if marker else {}, holder=request.node.nodeid)
    yield leased
    leased.release()


def pytest_configure(config):
    config.addinivalue_line("markers", "account(env, domain, labels, login, …): which account to lease")
