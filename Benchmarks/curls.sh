#!/usr/bin/env bash
# The migration plan's own check, against what `REPLYX_LIMITS=off ./dev up` runs (one visitor has five streams): 100 `curl -N` on one dialog's stream, then one message,
# which each of them must get once. Usage: Benchmarks/curls.sh
# COUNT (100) curls. What is not in the environment is read from .local/demo.env: REPLYX_URL, REPLYX_SITE_TOKEN and, if
# several nodes run, REPLYX_NODES: then the message is posted to another of them than REPLYX_URL, so that it reaches its
# readers over the bus (behind nginx they are on all nodes).
# Exit status 1: a curl without the message or with two, a stream open after more than 2 s or a delivery after 500 ms.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

die() { printf '%s\n' "curls.sh: $*" >&2; exit 1; }
count=${COUNT:-100}
[[ $count =~ ^[1-9][0-9]{0,3}$ ]] || die "COUNT takes 1 to 9999."
command -v curl >/dev/null || die "there is no curl."

# Variable $1 of demo.env, unless the environment has it.
setting() {
    if [[ -n ${!1:-} ]]; then echo "${!1}"; return; fi
    [[ ! -f .local/demo.env ]] || (
        # shellcheck source=/dev/null
        . .local/demo.env
        echo "${!1:-}"
    )
}
url=$(setting REPLYX_URL) token=$(setting REPLYX_SITE_TOKEN) nodes=$(setting REPLYX_NODES)
[[ -n $url && -n $token ]] || die "there is no REPLYX_URL and REPLYX_SITE_TOKEN: is ./dev up running?"
to=$url
for node in ${nodes//,/ }; do if [[ $node != "$url" ]]; then to=$node; fi; done

dir=$(mktemp -d)
curls=()
end() {
    trap - EXIT INT TERM
    ((${#curls[@]} == 0)) || kill "${curls[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf -- "$dir"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

post() { curl -fsS --noproxy '*' -m 10 "$1?site_token=$token" -H 'Content-Type: application/json' "${@:2}"; }
# Each line of a stream with the time at which it came.
stamp() { while IFS= read -r line; do printf '%s %s\n' "$EPOCHREALTIME" "$line"; done; }
# Waits until $count files have the text $1, 15 s at most. Prints how many have it.
have() {
    local n found
    for ((n = 0; n < 75; n++)); do
        found=$(grep -lsF -- "$1" "$dir"/reader.* | wc -l) || true
        ((found < count)) || break
        sleep 0.2
    done
    echo "$found"
}
# Of the numbers on standard input, in ms: the median, the 99th of 100, the largest.
spread() { sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "%.0f %.0f %.0f", v[int((NR - 1) * 0.5) + 1], v[int((NR - 1) * 0.99) + 1], v[NR]; else printf "- - -" }'; }

opened=$(post "$url/api/site/dialogs" -d '{}') || die "no dialog could be opened at $url."
[[ $opened =~ '"id":'([0-9]+) ]] && dialog=${BASH_REMATCH[1]}
[[ $opened =~ '"guest_id":"'([A-Za-z0-9_-]+) ]] && guest=${BASH_REMATCH[1]}
[[ -n ${dialog:-} && -n ${guest:-} ]] || die "the answer names no dialog and guest."

for ((i = 1; i <= count; i++)); do
    echo "$EPOCHREALTIME" >"$dir/began.$i"
    curl -sN --noproxy '*' -m 60 "$url/api/dialogs/$dialog/events?site_token=$token&guest_id=$guest" > >(stamp >"$dir/reader.$i") &
    curls+=($!)
done
open=$(have ' event: hb')

key=$(cat /proc/sys/kernel/random/uuid)
sent=$EPOCHREALTIME
post "$to/api/site/dialogs/$dialog/messages" -H "X-Guest-Id: $guest" -d "{\"text\":\"Is this there at once?\",\"client_message_id\":\"$key\"}" >/dev/null ||
    die "the message was refused."
got=$(have "$key")
# A second copy would come from what repairs holes, which looks every two seconds.
sleep 2.5

for ((i = 1; i <= count; i++)); do
    awk -v key="$key" -v began="$(cat "$dir/began.$i")" -v sent="$sent" '
        $2 == "event:" && $3 == "hb" && !open { open = 1; printf "open %.1f\n", ($1 - began) * 1000 }
        index($0, key) { copies++; if (copies == 1) printf "delivery %.1f\n", ($1 - sent) * 1000 }
        END { print "copies", copies + 0 }' "$dir/reader.$i"
done >"$dir/all"
once=$(grep -cx 'copies 1' "$dir/all") || true
read -r open50 open99 open_last < <(sed -n 's/^open //p' "$dir/all" | spread; echo)
read -r got50 got99 got_last < <(sed -n 's/^delivery //p' "$dir/all" | spread; echo)

printf '%s curls on %s, the message posted to %s\n' "$count" "$url" "$to"
printf '%-44s %s\n' 'streams open' "$open" 'streams that got the message' "$got" 'once' "$once" \
    'from the start of curl to the open stream, ms' "p50 $open50, p99 $open99, last $open_last (under 2000)" \
    'from the start of the post to the reader, ms' "p50 $got50, p99 $got99, last $got_last (under 500)"
((open == count && once == count)) && awk -v o="$open_last" -v d="$got_last" 'BEGIN { exit !(o < 2000 && d < 500) }'
