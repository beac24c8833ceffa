"""Leases with the client that .ci/client has made: `client_lease.py URL LOGIN PASSWORD`."""

import sys

from generated import AuthenticatedClient, Client
from generated.api.leases import acquire_lease, get_lease, release_lease, renew_lease
from generated.api.login import login
from generated.api.users import create_user, get_user, list_user_history
from generated.models import Credentials, EndReason, ExhaustedProblem, LeaseRequest, NewUser, Renewal, Selector

url, name, password = sys.argv[1:]
token = login.sync(client=Client(base_url=url), body=Credentials(login=name, password=password))
client = AuthenticatedClient(base_url=url, token=token.access_token)

new = NewUser(login="ada", password="s3cret", project_id="0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11", env="stage")
user = create_user.sync(client=client, body=new)

wanted = LeaseRequest(users=[Selector(env="stage")], ttl_seconds=60)
lease = acquire_lease.sync(client=client, body=wanted, idempotency_key="build 1")
again = acquire_lease.sync(client=client, body=wanted, idempotency_key="build 1")
assert (lease.holder, lease.users[0].id, lease.users[0].password) == (name, user.id, "s3cret")
assert again.id == lease.id, "the same key gives the same lease"

refused = acquire_lease.sync_detailed(client=client, body=wanted)
assert (refused.status_code, type(refused.parsed)) == (409, ExhaustedProblem), refused.status_code
assert refused.parsed.oldest.holder == name

renewed = renew_lease.sync(client=client, id=lease.id, body=Renewal(ttl_seconds=600))
assert renewed.expires_at > lease.expires_at and renewed.ttl_seconds == 600

released = release_lease.sync_detailed(client=client, id=lease.id)
assert released.status_code == 204, released.status_code
lost = get_lease.sync_detailed(client=client, id=lease.id)
assert (lost.status_code, lost.parsed.reason) == (410, EndReason.RELEASED)
assert get_user.sync(client=client, id=user.id).lease is None
assert [row.reason for row in list_user_history.sync(client=client, id=user.id)] == [EndReason.RELEASED]
