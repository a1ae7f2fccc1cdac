#!/usr/bin/env bash
# Posts a second of the server against one message a transaction by pgbench, alternating in the same run, on the same
# PostgreSQL and the same dialogs; then the same for 1,000 dialogs of one account. Usage: Benchmarks/posts.sh
# SECS (8) seconds each measurement, ROUNDS (5) on 1,000 accounts, ONE_ROUNDS (2) on one account, CLIENTS (32).
# Exit status 1: an error, a lost, doubled or misplaced message, or a median below 0.9 of pgbench's.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

secs=${SECS:-8} rounds=${ROUNDS:-5} one_rounds=${ONE_ROUNDS:-2} clients=${CLIENTS:-32}
in_range "$secs" 1 600 || die "SECS takes 1 to 600."
in_range "$rounds" 1 100 || die "ROUNDS takes 1 to 100."
in_range "$one_rounds" 0 100 || die "ONE_ROUNDS takes 0 to 100."
in_range "$clients" 1 80 || die "CLIENTS takes 1 to 80 (PostgreSQL's connections)."
bad=0

# The median of one client's transactions in milliseconds. $1: the statement.
median_ms() {
    rm -f "$work"/one.*
    echo "$1" >"$work/one.sql"
    timeout 30 pgbench -n -M prepared -c 1 -j 1 -T 2 -l --log-prefix="$work/one" -f "$work/one.sql" >/dev/null 2>"$work/pgbench.log" ||
        { cat "$work/pgbench.log" >&2; die "pgbench failed."; }
    cut -d ' ' -f 3 "$work"/one.[0-9]* | median | awk '{ printf "%.3f", $1 / 1000 }'
    rm -f "$work"/one.*
}

# Transactions a second of the baseline. $1: first account, $2: 1 for an account a dialog, 0 for one, $3: first dialog.
pgbench_tps() {
    sql CHECKPOINT
    timeout $((secs + 30)) pgbench -n -M prepared -c "$clients" -j 1 -T "$secs" -f Benchmarks/single_message.pgbench \
        -D first_account="$1" -D account_step="$2" -D first_dialog="$3" -D dialogs=1000 -D clients="$clients" \
        >"$work/pgbench.log" 2>&1 || { cat "$work/pgbench.log" >&2; die "pgbench failed."; }
    grep -oP '^tps = \K[0-9.]+' "$work/pgbench.log"
}

# $1: its name, $2: how many rounds, $3 to $5 as for pgbench_tps, $6: targets. Sets ratio_of_medians.
compare() {
    local round tps line posts
    [[ $2 != 0 ]] || return 0
    : >"$work/tps"
    : >"$work/posts"
    printf '\n%s\n%-7s %9s %9s %6s %12s %20s %18s %6s %5s %7s %9s %6s\n' "$1" round pgbench/s posts/s ratio deliveries/s \
        'post p50/p95/p99 ms' 'delivery p50/p99' errors lost doubled misplaced load%
    for ((round = 1; round <= $2; round++)); do
        tps=$(pgbench_tps "$3" "$4" "$5")
        sql CHECKPOINT
        line=$(timeout $((secs + 90)) "$work/load" posts --url "http://127.0.0.1:$port" --targets "$6" \
            --clients "$clients" --readers-per-dialog 2 --seconds "$secs") || bad=1
        [[ $line == posts=* ]] || die "the load generator measured nothing."
        posts=$(value posts_per_s <<<"$line")
        echo "$tps" >>"$work/tps"
        echo "$posts" >>"$work/posts"
        printf '%-7s %9.0f %9.0f %6s %12s %20s %18s %6s %5s %7s %9s %6.0f\n' "$round" "$tps" "$posts" "$(ratio "$posts" "$tps")" \
            "$(value deliveries_per_s <<<"$line")" \
            "$(value post_p50_ms <<<"$line")/$(value post_p95_ms <<<"$line")/$(value post_p99_ms <<<"$line")" \
            "$(value delivery_p50_ms <<<"$line")/$(value delivery_p99_ms <<<"$line")" \
            "$(value errors <<<"$line")" "$(value lost <<<"$line")" "$(value doubled <<<"$line")" \
            "$(value out_of_order <<<"$line")" "$(value generator_cpu <<<"$line" | awk '{ print $1 * 100 }')"
    done
    tps=$(median <"$work/tps")
    posts=$(median <"$work/posts")
    ratio_of_medians=$(ratio "$posts" "$tps")
    printf '%-7s %9.0f %9.0f %6s\n' median "$tps" "$posts" "$ratio_of_medians"
}

# What the machine gives, before and after: other work on it shows here.
machine() {
    local busy
    busy=$(cut -d ' ' -f 1 /proc/loadavg)
    printf 'machine, %s: %s cores, load average %s; one client: SELECT 1 %s ms, one commit %s ms (medians)\n' "$1" "$(nproc)" \
        "$busy" "$(median_ms 'SELECT 1;')" "$(median_ms 'UPDATE bench.one_row SET n = n + 1;')"
}

start_all
targets 1 1000 >"$work/targets.many"
targets 1001 2000 >"$work/targets.one"

machine before
printf 'PostgreSQL %s, fsync %s, synchronous_commit %s, shared_buffers %s; %s clients, %s s each\n' \
    "$(sql 'SHOW server_version')" "$(sql 'SHOW fsync')" "$(sql 'SHOW synchronous_commit')" "$(sql 'SHOW shared_buffers')" "$clients" "$secs"

compare '1,000 accounts, a dialog each, 2 readers a dialog' "$rounds" 1 1 1 "$work/targets.many"
many=$ratio_of_medians
compare 'one account, 1,000 dialogs, 2 readers a dialog' "$one_rounds" 1001 0 1001 "$work/targets.one"
echo
machine after

holes=$(sql "SELECT (SELECT count(*) FROM accounts a WHERE last_seq <> (SELECT count(*) FROM events e WHERE e.account_id = a.id))
    + (SELECT count(*) FROM dialogs d WHERE last_seq <> (SELECT count(*) FROM messages m WHERE m.dialog_id = d.id))")
printf 'counters that differ from their rows: %s\n' "$holes"
# The newest 50,000 events by the text that tells the two apart.
sql "SELECT CASE WHEN payload ->> 'message' LIKE '%the baseline''s own%' THEN 'baseline' ELSE 'server' END AS writer,
        round(avg(octet_length(payload::text)))
    FROM (SELECT payload FROM events WHERE type = 'message:new' ORDER BY created_at DESC LIMIT 50000) e
    GROUP BY writer ORDER BY writer" | awk -F '|' '{ printf "bytes of an event'\''s payload, %s: %s\n", $1, $2 }'
printf 'ratio of the medians, 1,000 accounts: %s (wanted: 0.9 or more)\n' "$many"
[[ $holes == 0 && $bad == 0 ]] && awk -v r="$many" 'BEGIN { exit !(r >= 0.9) }'
