"""How this suite signs in, and the accounts that a suite without botfarm would take."""

import csv
import os
import random
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

SITE = os.environ.get("SITE_URL", "http://127.0.0.1:8080")
BOTS = Path(__file__).parents[2] / "bots.csv"


class Browser:
    """As much of one as the site needs."""

    def __init__(self):
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def open(self, path, **fields):
        """The text of a page, which a form with these fields is sent to, if there are any."""
        data = urllib.parse.urlencode(fields).encode() if fields else None
        try:
            with self._opener.open(SITE + path, data) as page:
                return page.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()


@pytest.fixture
def signed_in(account):
    browser = Browser()
    page = browser.open("/login", login=account.login, password=account.password)
    assert page.partition('role="status">')[2].partition("<")[0] == f"signed in as {account.login}"
    yield browser
    browser.open("/logout", button="")


class Chosen:
    """An account that nobody has leased."""

    def __init__(self, row):
        self.login, self.password = row["login"], row["password"]


if os.environ.get("ACCOUNTS") == "by-chance":

    @pytest.fixture
    def account(request):
        """Any account of the file that fits, whoever else has it."""
        marker = request.node.get_closest_marker("account")
        asked = dict(marker.kwargs) if marker else {}
        asked |= {f"label.{key}": value for key, value in asked.pop("labels", {}).items()}
        with BOTS.open(newline="") as file:
            fit = [row for row in csv.DictReader(file) if all(row[key] == asked[key] for key in asked)]
        return Chosen(random.choice(fit))
