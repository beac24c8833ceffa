"""Leases test accounts from botfarm. Importing this needs no pytest; the plugin is in `pytest_botfarm.plugin`.

from pytest_botfarm import Farm

with Farm().lease({"env": "stage", "labels": {"role": "admin"}}) as lease:
    sign_in(lease.account.login, lease.account.password)
"""

from .errors import BotfarmError, LeaseLost, NoAccount, Unavailable
from .farm import Farm
from .lease import Account, Lease
from .wire import ActiveLease, HistoryRow, NewUser, Outcome, Selector, User, UserChange

__all__ = [
    "Account",
    "ActiveLease",
    "BotfarmError",
    "Farm",
    "HistoryRow",
    "Lease",
    "LeaseLost",
    "NewUser",
    "NoAccount",
    "Outcome",
    "Selector",
    "Unavailable",
    "User",
    "UserChange",
]
