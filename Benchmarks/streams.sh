#!/usr/bin/env bash
# Memory of the server for each idle stream, and a message to all of them at once. Usage: Benchmarks/streams.sh
# COUNT (10000) streams on one dialog, HOLD (0) seconds more that they stay idle, BARE_NIO_KB: the same measurement of
# a bare NIO channel, to stand beside it. Exit status 1: a stream failed or missed the message, or more than 9 KB each.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

count=${COUNT:-10000} hold=${HOLD:-0} bare=${BARE_NIO_KB:-}
in_range "$count" 1 28000 || die "COUNT takes 1 to 28000 (one source address has no more ports)."
in_range "$hold" 0 3600 || die "HOLD takes 0 to 3600."
[[ -z $bare || $bare =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "BARE_NIO_KB takes a number."
(($(ulimit -Hn) >= count + 200)) || die "the hard file limit is $(ulimit -Hn); $count streams need $((count + 200))."

start_all
start_server server
targets 1 1 >"$work/targets.broadcast"
failed=0
line=$(timeout $((hold + 180)) "$work/load" streams --url "http://127.0.0.1:$port" --targets "$work/targets.broadcast" \
    --count "$count" --server-pid "$server" --hold "$hold") || failed=1
[[ $line == connected=* ]] || die "the load generator measured nothing."
kb=$(value kb_per_stream <<<"$line")

printf '%-42s %s\n' 'streams open' "$(value connected <<<"$line")" 'failed' "$(value failed <<<"$line")" \
    'opened in, s' "$(value open_s <<<"$line")" 'heartbeats while idle' "$(value heartbeats <<<"$line")" \
    'streams that got the message' "$(value broadcast_received <<<"$line")" \
    'message to the last stream, ms' "$(value broadcast_ms <<<"$line")" \
    'memory of an idle stream, KB (at most 9)' "$kb" 'memory of a bare NIO channel, KB' "${bare:-not given (BARE_NIO_KB)}"
[[ $failed == 0 ]] && awk -v kb="$kb" 'BEGIN { exit !(kb <= 9) }'
