#!/usr/bin/env bash
# Runs a command with a leased account in BOTFARM_USER_LOGIN and BOTFARM_USER_PASSWORD, where there is no botfarm to do
# that (`botfarm run --env stage -- COMMAND…`), but bash, curl 7.82 or later, and jq.
#
#   examples/bash/with-account.sh '{"env": "stage"}' COMMAND…
#
# BOTFARM_URL says where the service is, BOTFARM_TOKEN who asks. The code is that of the command; 124 when there was no
# account; 123 when the account was lost, in which case the command is stopped.
set -euo pipefail

readonly farm=${BOTFARM_URL:-http://127.0.0.1:8000}/api/v1
readonly selector=$1
shift

# METHOD PATH BODY SECONDS. Ids and tokens stay out of the arguments of curl, which anybody can see. It may be asked
# again: the lease's id is ours, so that no second account is taken.
call() {
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --retry-max-time 25 --max-time "$4" \
        --request "$1" --json @- --config <(
            printf 'url = "%s%s"\n' "$farm" "$2"
            [ -z "${BOTFARM_TOKEN-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$BOTFARM_TOKEN"
        ) <<< "$3"
}

# Gives up, and ends the command, before the lease is over and somebody else has the account.
renew() {
    while sleep "$(jq .renew_after_seconds <<< "$lease")" > /dev/null 2>&1; do
        call POST "/leases/$id/renew" '{}' 10 > /dev/null || {
            kill -TERM "$child" && sleep 5 && kill -KILL "$child"
            return
        }
    done
}

release() {
    local code=$?
    trap '' TERM INT HUP
    kill "${renewer-}" 2> /dev/null || true
    call DELETE "/leases/$id" '' 10 >&2 || code=123
    exit "$code"
}

id=$(< /proc/sys/kernel/random/uuid)
asked=$(jq -n --arg id "$id" --arg holder "$(id -un)@$HOSTNAME" --argjson selector "$selector" \
    '{$id, $holder, users: [$selector], ttl_seconds: 60, wait_seconds: 240}')
lease=$(call POST /leases "$asked" 300) || { echo "botfarm: $lease" >&2; exit 124; }
trap release EXIT
trap 'kill -TERM "${child-}" 2> /dev/null || true' TERM INT HUP

BOTFARM_USER_LOGIN=$(jq -r '.users[0].login' <<< "$lease") \
BOTFARM_USER_PASSWORD=$(jq -r '.users[0].password' <<< "$lease") \
    env -u BOTFARM_TOKEN "$@" <&0 &
child=$!
renew 2> /dev/null &
renewer=$!
while
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2> /dev/null
do :; done
exit "$code"
