"""Runs with more workers than there are accounts: pytest -n 8"""

import pytest


@pytest.mark.parametrize("number", range(40))
def test_a_session_is_ours_alone(account, signed_in, number):
    for _ in range(10):
        assert f'{{"login": "{account.login}"}}' == signed_in.open("/me")


@pytest.mark.account(env="stage", labels={"role": "member"})
def test_an_account_of_a_kind(account, signed_in):
    assert account.login in ("ben@shop.example", "cleo@shop.example")
