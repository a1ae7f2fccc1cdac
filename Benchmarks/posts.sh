#!/usr/bin/env bash
# Posts a second of the server against one message a transaction by pgbench, alternating in the same run, on the same
# PostgreSQL and the same dialogs; then the same for 1,000 dialogs of one account. Usage: Benchmarks/posts.sh
# With BUS=on instead: the server without a Redis, with one, and with one that was killed, alternating.
# SECS (8) seconds each measurement, ROUNDS (5) on 1,000 accounts, ONE_ROUNDS (2) on one account, CLIENTS (32).
# Exit status 1: an error, a lost, doubled or misplaced message, or a median below 0.9 of pgbench's; with BUS=on below
# 0.9 of the posts with Redis running.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

secs=${SECS:-8} rounds=${ROUNDS:-5} one_rounds=${ONE_ROUNDS:-2} clients=${CLIENTS:-32} bus=${BUS:-off}
in_range "$secs" 1 600 || die "SECS takes 1 to 600."
in_range "$rounds" 1 100 || die "ROUNDS takes 1 to 100."
in_range "$one_rounds" 0 100 || die "ONE_ROUNDS takes 0 to 100."
in_range "$clients" 1 80 || die "CLIENTS takes 1 to 80 (PostgreSQL's connections)."
[[ $bus == on || $bus == off ]] || die "BUS takes on or off."
bad=0

# Transactions a second of the baseline. $1: first account, $2: 1 for an account a dialog, 0 for one, $3: first dialog.
pgbench_tps() {
    sql CHECKPOINT
    timeout $((secs + 30)) pgbench -n -M prepared -c "$clients" -j 1 -T "$secs" -f Benchmarks/single_message.pgbench \
        -D first_account="$1" -D account_step="$2" -D first_dialog="$3" -D dialogs=1000 -D clients="$clients" \
        >"$work/pgbench.log" 2>&1 || { cat "$work/pgbench.log" >&2; die "pgbench failed."; }
    grep -oP '^tps = \K[0-9.]+' "$work/pgbench.log"
}

# Posts for $secs seconds to port $1, dialogs of file $2. Sets line and posts (a second).
post() {
    sql CHECKPOINT
    line=$(timeout $((secs + 90)) "$work/load" posts --url "http://127.0.0.1:$1" --targets "$2" \
        --clients "$clients" --readers-per-dialog 2 --seconds "$secs") || bad=1
    [[ $line == posts=* ]] || die "the load generator measured nothing."
    posts=$(value posts_per_s <<<"$line")
}

columns='%12s %20s %18s %6s %5s %7s %9s %5s\n'
print_heads() {
    # shellcheck disable=SC2059 # a format of our own
    printf "$columns" deliveries/s 'post p50/p95/p99 ms' 'delivery p50/p99' errors lost doubled misplaced load%
}
print_line() {
    # shellcheck disable=SC2059 # a format of our own
    printf "$columns" "$(value deliveries_per_s <<<"$line")" \
        "$(value post_p50_ms <<<"$line")/$(value post_p95_ms <<<"$line")/$(value post_p99_ms <<<"$line")" \
        "$(value delivery_p50_ms <<<"$line")/$(value delivery_p99_ms <<<"$line")" \
        "$(value errors <<<"$line")" "$(value lost <<<"$line")" "$(value doubled <<<"$line")" \
        "$(value misplaced <<<"$line")" "$(value generator_cpu <<<"$line" | awk '{ printf "%.0f", $1 * 100 }')"
}

# $1: its name, $2: how many rounds, $3 to $5 as for pgbench_tps, $6: targets. Sets ratio_of_medians.
compare() {
    local round tps
    [[ $2 != 0 ]] || return 0
    : >"$work/tps"
    : >"$work/posts"
    printf '\n%s\n%-7s %9s %9s %6s ' "$1" round pgbench/s posts/s ratio
    print_heads
    for ((round = 1; round <= $2; round++)); do
        tps=$(pgbench_tps "$3" "$4" "$5")
        post "$port" "$6"
        echo "$tps" >>"$work/tps"
        echo "$posts" >>"$work/posts"
        printf '%-7s %9.0f %9.0f %6s ' "$round" "$tps" "$posts" "$(ratio "$posts" "$tps")"
        print_line
    done
    tps=$(median <"$work/tps")
    posts=$(median <"$work/posts")
    ratio_of_medians=$(ratio "$posts" "$tps")
    printf '%-7s %9.0f %9.0f %6s\n' median "$tps" "$posts" "$ratio_of_medians"
}

against_pgbench() {
    local many
    start_server server
    machine before
    printf '%s; %s clients, %s s each\n' "$(postgres_settings)" "$clients" "$secs"
    compare '1,000 accounts, a dialog each, 2 readers a dialog' "$rounds" 1 1 1 "$work/targets.many"
    many=$ratio_of_medians
    compare 'one account, 1,000 dialogs, 2 readers a dialog' "$one_rounds" 1001 0 1001 "$work/targets.one"
    echo
    machine after
    # The newest 50,000 events by the text that tells the two apart.
    sql "SELECT CASE WHEN payload ->> 'message' LIKE '%the baseline''s own%' THEN 'baseline' ELSE 'server' END AS writer,
            round(avg(octet_length(payload::text)))
        FROM (SELECT payload FROM events WHERE type = 'message:new' ORDER BY created_at DESC LIMIT 50000) e
        GROUP BY writer ORDER BY writer" | awk -F '|' '{ printf "bytes of an event'\''s payload, %s: %s\n", $1, $2 }'
    printf 'ratio of the medians, 1,000 accounts: %s (wanted: 0.9 or more)\n' "$many"
    awk -v r="$many" 'BEGIN { exit !(r >= 0.9) }' || bad=1
}

# Two servers on one database, one of them without a Redis. Which case comes first changes with the round, because all
# of them fall while the tables grow.
with_and_without_redis() {
    local cases=(none running killed) case round n plain_port with_port with_management r
    start_redis
    start_server plain
    plain_port=$port
    start_server with-redis "redis://127.0.0.1:$redis_port/0"
    with_port=$port with_management=$management
    wait_for_bus "$with_management" ok 300 || bad=1
    machine before
    printf '%s; Redis %s; %s clients, %s s each\n' "$(postgres_settings)" \
        "$(redis_version)" "$clients" "$secs"
    printf '\n1,000 accounts, a dialog each, 2 readers a dialog\n%-7s %-8s %9s ' round Redis posts/s
    print_heads
    for ((round = 1; round <= rounds; round++)); do
        for ((n = 0; n < 3; n++)); do
            case=${cases[(round + n - 1) % 3]}
            case $case in
            none) post "$plain_port" "$work/targets.many" ;;
            running) post "$with_port" "$work/targets.many" ;;
            killed)
                kill_redis
                wait_for_bus "$with_management" '!ok' 50 || bad=1
                post "$with_port" "$work/targets.many"
                start_redis
                wait_for_bus "$with_management" ok 300 || bad=1 ;;
            esac
            echo "$posts" >>"$work/posts.$case"
            value post_p99_ms <<<"$line" >>"$work/p99.$case"
            printf '%-7s %-8s %9.0f ' "$round" "$case" "$posts"
            print_line
        done
    done
    for case in "${cases[@]}"; do
        printf '%-7s %-8s %9.0f   post p99 %s ms\n' median "$case" "$(median <"$work/posts.$case")" "$(median <"$work/p99.$case")"
    done
    machine after
    r=$(ratio "$(median <"$work/posts.running")" "$(median <"$work/posts.none")")
    printf 'ratio of the medians, Redis running to none: %s\n' "$r"
    r=$(ratio "$(median <"$work/posts.killed")" "$(median <"$work/posts.running")")
    printf 'ratio of the medians, Redis killed to running: %s (wanted: 0.9 or more)\n' "$r"
    awk -v r="$r" 'BEGIN { exit !(r >= 0.9) }' || bad=1
}

[[ $bus == off ]] || need_redis
start_all
targets 1 1000 >"$work/targets.many"
targets 1001 2000 >"$work/targets.one"
rm -f "$work"/posts.{none,running,killed} "$work"/p99.{none,running,killed}
if [[ $bus == on ]]; then with_and_without_redis; else against_pgbench; fi
wrong=$(wrong_counters)
printf 'counters that differ from their rows: %s\n' "$wrong"
[[ $wrong == 0 && $bad == 0 ]]
