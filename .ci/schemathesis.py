"""What .ci/schemathesis adds to schemathesis: files of users as bodies, a check, and a token that is kept."""

import os
import re

import schemathesis
from schemathesis.engine import observations

# What no schema of one request can say.
BEYOND_SCHEMAS = re.compile(
    "must not be both in the query and in the body"
    "|must not go with the header Idempotency-Key"
    "|must not ask for two values of one key"
    "|must have 1 to 255 characters"
    "|must differ from every other"
    "|must be in the future"
    # A format is a time or a text, and not one of the two.
    '|must be a time in RFC 3339, or "never"'
    # What this service was told, and passwords that are guessed first.
    "|unless the setting .* has others"
    "|must not be the login|is one of those that are tried first"
    # An account of which nobody has heard.
    "|must be the id of a user, its login, or its env and login"
    "|names the same account as|is taken|twice"
)


@schemathesis.serializer("application/x-ndjson", "text/csv")
def text(context, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@schemathesis.check
def valid_is_not_invalid(context, response, case):
    """What the document allows must not be refused as wrong in itself."""
    if response.status_code != 422 or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    if problem["code"] != "invalid" or case.media_type in ("application/x-ndjson", "text/csv"):
        return
    unexpected = [fault for fault in problem["errors"] if not BEYOND_SCHEMAS.search(fault["detail"])]
    assert not unexpected, f"the document allows what is refused: {unexpected}"


@schemathesis.hook
def filter_case(context, case):
    """The token that all requests are made with is not to be revoked by one of them."""
    return case.path_parameters.get("id") != os.environ.get("KEEP", "none")


same_origin_path = observations._same_origin_path


def same_origin_path_of_any_text(value, origin):
    """schemathesis 4.32.5 stops at a text in an answer that begins like a URL and is none."""
    try:
        return same_origin_path(value, origin)
    except ValueError:
        return None


observations._same_origin_path = same_origin_path_of_any_text
