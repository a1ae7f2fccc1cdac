#!/usr/bin/env bash
# Streams over two nodes under a steady load: how long a committed message takes to its readers on the node that took it
# and on the other, and what each process needs for it. Usage: Benchmarks/nodes.sh
# COUNT (18000) streams, half of them on each node, READERS (2) to a dialog; RATE (1000) messages a second for SECS (15)
# seconds, ROUNDS (5) times over the same streams; IDLE (15) seconds before that in which the idle streams are measured.
# REDIS on (default), off: the nodes have no bus, or killed: it dies before the first round.
# Exit status 1: an error, a lost, doubled or misplaced message, or a bus that is not as it should be.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

count=${COUNT:-18000} readers=${READERS:-2} rate=${RATE:-1000} secs=${SECS:-15} rounds=${ROUNDS:-5} idle=${IDLE:-15} mode=${REDIS:-on}
in_range "$count" 2 56000 || die "COUNT takes 2 to 56000 (one source address has 28,000 ports for each node)."
in_range "$readers" 2 32 || die "READERS takes an even number, 2 to 32."
((readers % 2 == 0)) || die "READERS takes an even number, 2 to 32."
((count % readers == 0)) || die "COUNT must be a multiple of READERS."
in_range "$rate" 10 20000 || die "RATE takes 10 to 20000."
in_range "$secs" 1 600 || die "SECS takes 1 to 600."
in_range "$rounds" 1 100 || die "ROUNDS takes 1 to 100."
in_range "$idle" 1 600 || die "IDLE takes 1 to 600."
[[ $mode =~ ^(on|off|killed)$ ]] || die "REDIS takes on, off or killed."
(($(ulimit -Hn) >= count + 300)) || die "the hard file limit is $(ulimit -Hn); $count streams need $((count + 300))."
[[ $mode == off ]] || need_redis
dialogs=$((count / readers)) bad=0

# ---- Processes

postmaster() { head -n 1 "$(readlink -f "$database/server")/data/postmaster.pid"; }
# The processes of row $1 of the tables.
pids_of() {
    case $1 in
    'node 1') echo "${servers[0]}" ;;
    'node 2') echo "${servers[1]}" ;;
    PostgreSQL) postmaster; ps -o pid= --ppid "$(postmaster)" ;;
    Redis) [[ -z $redis ]] || echo "$redis" ;;
    generator) echo "$generator" ;;
    esac
}
rows=('node 1' 'node 2' PostgreSQL Redis generator)

# Seconds of CPU that row $1 has used. A process that ended meanwhile is in its parent's account.
cpu_of() {
    local pid
    for pid in $(pids_of "$1"); do cat "/proc/$pid/stat" 2>/dev/null || true; done |
        sed 's/.*) //' | awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 + $14 + $15 } END { printf "%.2f", t / hz }'
}
# MiB of row $1: PSS and RSS. Several processes' RSS counts what they share several times, PSS once.
memory_of() {
    local pid
    for pid in $(pids_of "$1"); do cat "/proc/$pid/smaps_rollup" 2>/dev/null || true; done |
        awk '$1 == "Pss:" { p += $2 } $1 == "Rss:" { r += $2 } END { printf "%.0f %.0f", p / 1024, r / 1024 }'
}
declare -A cpu_then pss rss
begin_window() {
    local row
    for row in "${rows[@]}"; do cpu_then[$row]=$(cpu_of "$row"); done
    window_began=$EPOCHREALTIME
}
# Writes for each row the percent of one core since begin_window to $work/cpu.$1.
end_window() {
    local row now seconds
    seconds=$(awk -v a="$window_began" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
    for row in "${rows[@]}"; do
        now=$(cpu_of "$row")
        awk -v a="${cpu_then[$row]}" -v b="$now" -v s="$seconds" 'BEGIN { printf "%.1f\n", (b - a) / s * 100 }' >>"$work/cpu.$1.${row// /}"
    done
}
note_memory() {
    local row p r
    for row in "${rows[@]}"; do
        read -r p r < <(memory_of "$row"; echo)
        pss[$1 $row]=$p rss[$1 $row]=$r
    done
}

# The sum of counter $1 over both nodes, with whatever labels.
counter() {
    for m in "${management_ports[@]}"; do get "$m" /metrics; done | awk -v name="$1" '{ n = $1; sub(/\{.*/, "", n) } n == name { s += $2 } END { printf "%d", s }'
}

# ---- The generator, which takes a line a round

generator_start() {
    coproc LOAD { exec "$work/load" nodes --url "http://127.0.0.1:${ports[0]}" --url "http://127.0.0.1:${ports[1]}" \
        --targets "$work/targets.nodes" --receipts "$work/receipts" --readers-per-dialog "$readers" --rate "$rate" --seconds "$secs"; }
    generator=$LOAD_PID
    exec 7<&"${LOAD[0]}" 8>&"${LOAD[1]}"
}
# The generator's next line, within $1 seconds, must begin with $2.
generator_says() {
    line=
    read -r -t "$1" -u 7 line || true
    [[ $line == "$2="* ]] || die "the load generator measured nothing."
}

# ---- The run

start_all
# PostgreSQL then keeps when each transaction was committed.
sql 'ALTER SYSTEM SET track_commit_timestamp = on'
./dev postgres restart "$database" >/dev/null
psql -Xq -v ON_ERROR_STOP=1 -v dialogs="$dialogs" -f Benchmarks/nodes.sql >/dev/null
sql 'VACUUM ANALYZE'
targets 2001 $((2000 + dialogs)) >"$work/targets.nodes"

redis_url=
if [[ $mode != off ]]; then start_redis; redis_url=redis://127.0.0.1:$redis_port/0; fi
ports=() management_ports=()
for n in 1 2; do
    start_server "node-$n" "$redis_url"
    ports+=("$port") management_ports+=("$management")
done
if [[ $mode != off ]]; then for m in "${management_ports[@]}"; do wait_for_bus "$m" ok 300 || bad=1; done; fi

machine before
printf '%s; Redis %s\n' "$(postgres_settings)" "$(if [[ $mode == off ]]; then echo none; else redis_version; fi)"
printf '%s streams on two nodes: %s dialogs in %s accounts, %s readers a dialog, half of them on each node; %s messages/s for %s s\n' \
    "$count" "$dialogs" "$((dialogs < 1000 ? dialogs : 1000))" "$readers" "$rate" "$secs"
rm -f "$work"/cpu.* "$work"/round.*
generator_start
generator_says 150 open
printf 'open: %s in %s s\n' "$(value open <<<"$line")" "$(value open_s <<<"$line")"
[[ $(value open <<<"$line") == "$count" ]] || die "not all streams are open."

if [[ $mode == killed ]]; then
    kill_redis
    for m in "${management_ports[@]}"; do wait_for_bus "$m" '!ok' 50 || bad=1; done
fi
printf 'bus: %s, %s\n' "$(bus_of "${management_ports[0]}")" "$(bus_of "${management_ports[1]}")"
# What opening costs afterwards is over by then.
sleep 3
begin_window
sleep "$idle"
end_window idle
note_memory idle
declare -A before
for name in gaps_repaired bus_dropped out_of_order; do before[$name]=$(counter "replyx_${name}_total"); done

printf '\n%-7s %16s %9s %18s %5s %6s %5s %7s %9s\n' round 'commit p50/p99' posts/s 'post p50/p99 ms' late errors lost doubled misplaced
for ((round = 1; round <= rounds; round++)); do
    commit=$(transaction_ms "$one_commit" 0.5 0.99)
    sql CHECKPOINT
    begin_window
    echo round >&8
    generator_says $((secs + 20)) loaded
    end_window load
    generator_says 20 posts
    ((round < rounds)) || note_memory load
    for name in errors lost doubled misplaced; do [[ $(value "$name" <<<"$line") == 0 ]] || bad=1; done
    echo "$commit $(value post_p50_ms <<<"$line") $(value post_p99_ms <<<"$line")" >>"$work/round.posts"
    printf '%-7s %16s %9s %18s %5s %6s %5s %7s %9s\n' "$round" "${commit/ //}" "$(value posts_per_s <<<"$line")" \
        "$(value post_p50_ms <<<"$line")/$(value post_p99_ms <<<"$line")" "$(value late <<<"$line")" "$(value errors <<<"$line")" \
        "$(value lost <<<"$line")" "$(value doubled <<<"$line")" "$(value misplaced <<<"$line")"
done
column() { cut -d ' ' -f "$1" "$work/round.posts" | median | awk -v f="$2" '{ printf f, $1 }'; }
printf '%-7s %16s %9s %18s\n' median "$(column 1 %.3f)/$(column 2 %.3f)" '' "$(column 3 %.2f)/$(column 4 %.2f)"

# By PostgreSQL's own times, of every copy that every reader got.
psql -Xq -v ON_ERROR_STOP=1 -c '\copy bench.receipts FROM '"$work/receipts"
sql "SELECT round, same_node, percentile_disc(0.5) WITHIN GROUP (ORDER BY committed_ms), percentile_disc(0.99) WITHIN GROUP (ORDER BY committed_ms),
        max(committed_ms), percentile_disc(0.5) WITHIN GROUP (ORDER BY written_ms), percentile_disc(0.99) WITHIN GROUP (ORDER BY written_ms)
    FROM bench.deliveries GROUP BY round, same_node ORDER BY round, same_node DESC" | tr '|' ' ' >"$work/round.deliveries"
printf '\n%-7s %-21s %29s %24s\n' round 'readers on' 'commit → reader p50/p99/max ms' 'written → reader p50/p99'
while read -r round same p50 p99 max w50 w99; do
    printf '%-7s %-21s %8.2f %8.2f %11.2f %13.2f %10.2f\n' "$round" \
        "$([[ $same == t ]] && echo 'the posting node' || echo 'the other node')" "$p50" "$p99" "$max" "$w50" "$w99"
done <"$work/round.deliveries"
for same in t f; do
    column() { awk -v s="$same" -v c="$1" '$2 == s { print $c }' "$work/round.deliveries" | median; }
    printf '%-7s %-21s %8.2f %8.2f %11.2f %13.2f %10.2f\n' median "$([[ $same == t ]] && echo 'the posting node' || echo 'the other node')" \
        "$(column 3)" "$(column 4)" "$(column 5)" "$(column 6)" "$(column 7)"
done

printf '\n%-12s %12s %12s %16s %16s\n' process 'CPU idle %' 'CPU load %' 'PSS idle/load' 'RSS idle/load'
for row in "${rows[@]}"; do
    [[ -n $(pids_of "$row") ]] || continue
    printf '%-12s %12.1f %12.1f %16s %16s\n' "$row" "$(median <"$work/cpu.idle.${row// /}")" "$(median <"$work/cpu.load.${row// /}")" \
        "${pss[idle $row]}/${pss[load $row]}" "${rss[idle $row]}/${rss[load $row]}"
done

echo
machine after
# Every message of the run against every copy: what was committed must have reached each reader, also where the answer was lost.
missing=$(sql "SELECT $readers * (SELECT count(*) FROM messages WHERE client_message_id::text LIKE
        (SELECT left(client_message_id::text, 24) FROM bench.receipts LIMIT 1) || '%') - (SELECT count(*) FROM bench.deliveries)")
wrong=$(wrong_counters)
declare -A since
for name in "${!before[@]}"; do since[$name]=$(($(counter "replyx_${name}_total") - before[$name])); done
printf 'by the database, copies that no reader got: %s; counters that differ from their rows: %s\n' "$missing" "$wrong"
printf 'of the nodes: events not put on the bus %s, gaps read from PostgreSQL %s, out of order %s; bus: %s, %s\n' \
    "${since[bus_dropped]}" "${since[gaps_repaired]}" "${since[out_of_order]}" \
    "$(bus_of "${management_ports[0]}")" "$(bus_of "${management_ports[1]}")"
if [[ $mode == on ]]; then for m in "${management_ports[@]}"; do wait_for_bus "$m" ok 50 || bad=1; done; fi
[[ $bad == 0 && $missing == 0 && $wrong == 0 && ${since[out_of_order]} == 0 ]]
