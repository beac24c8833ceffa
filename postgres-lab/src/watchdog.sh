# Ends one server and removes its files once the test process is gone. However that went, it closes the standard input
# of this shell. Each line that comes in is the process to end then; an empty line says that there is none just now.
#
# $1: the server's directory. $2: the signal for it to end at once.
trap '' HUP INT TERM
server=
while read -r line; do server=$line; done

if [ -n "$server" ]; then
    family="$server $(cat "/proc/$server/task/$server/children" || pgrep -P "$server")"
    # A test may have stopped some of them, which then would not hear the signal.
    kill -CONT $family
    kill "-$2" "$server"
    tries=0
    while kill -0 "$server" && [ $tries -lt 60 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if kill -0 "$server"; then kill -KILL $family; fi
fi

# A postmaster that was killed leaves this behind, and its segment of shared memory with it.
if [ -e "$1/data/postmaster.pid" ]; then
    ipcrm -m "$(sed -n 7p "$1/data/postmaster.pid" | awk '{ print $2 }')"
fi
rm -rf "$1"
