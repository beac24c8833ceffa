#!/usr/bin/env bash
# A test in plain bash: signs in with the account in its environment, and out again.
set -euo pipefail

readonly site=${SITE_URL:-http://127.0.0.1:8080}
jar=$(mktemp)
trap 'rm -f "$jar"' EXIT

browse() {
    curl --silent --show-error --fail-with-body --cookie-jar "$jar" --cookie "$jar" "$@"
}

browse "$site/login" \
    --data-urlencode "login=$BOTFARM_USER_LOGIN" \
    --data-urlencode password@<(printf %s "$BOTFARM_USER_PASSWORD") | grep 'role="status"'
for _ in {1..10}; do
    [ "$(browse "$site/me" | jq -r .login)" = "$BOTFARM_USER_LOGIN" ]
done
browse --request POST "$site/logout" --output /dev/null
