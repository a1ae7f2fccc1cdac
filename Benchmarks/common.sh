# shellcheck shell=bash disable=SC2034
# Sourced by posts.sh, streams.sh and nodes.sh: a private PostgreSQL with the benchmark's dialogs, release builds of the
# server on free ports, a private Redis, the load generator; all of it stopped on exit. Only .local/ is written to.
set -euo pipefail
shopt -s inherit_errexit
# Numbers are read and written with a point, whoever runs this.
export LC_ALL=C
[[ -z ${REPLYX:-} ]] || replyx=$(realpath -- "$REPLYX")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
replyx=${replyx:-.build/release/replyx}
work=.local/bench
database=.local/bench-postgres
# Processes to end on exit, in this order.
generator='' servers=() redis=''

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Whether $1 is a whole number from $2 to $3.
in_range() { [[ $1 =~ ^(0|[1-9][0-9]{0,5})$ ]] && (($1 >= $2 && $1 <= $3)); }

port_taken() {
    grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6
}
# Below the range that the kernel takes for outgoing connections, of which there will be many.
free_port() {
    local port=$((20000 + RANDOM % 5000))
    while port_taken "$port"; do port=$((port + 1)); done
    echo "$port"
}

# The answer to GET $2 on port $1; nothing if there is none within 2 s or it is no good one.
get() { curl -fsS --noproxy '*' -m 2 "http://127.0.0.1:$1$2" 2>/dev/null || true; }

# Whether process $1 ended within $2 tenths of a second.
ended() {
    local n
    for ((n = 0; n < $2; n++)); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
    return 1
}

stop_all() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in $generator "${servers[@]}" $redis; do
        kill -TERM "$pid" 2>/dev/null || true
        # The servers drain side by side.
        [[ " ${servers[*]} " == *" $pid "* ]] || ended "$pid" 50 || kill -KILL "$pid" 2>/dev/null || true
    done
    for pid in "${servers[@]}"; do ended "$pid" 120 || kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    ./dev postgres remove "$database" >&2 || true
    exit "$status"
}

# PostgreSQL's own programs, found where Debian keeps them off the PATH.
find_postgres_programs() {
    local bin
    bin=$(compgen -G '/usr/lib/postgresql/[0-9]*/bin' | sort -V | tail -n 1) || true
    [[ -z $bin ]] || PATH=$bin:$PATH
    command -v pgbench >/dev/null || die "there is no pgbench (Debian's package postgresql)."
}

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

# A line a dialog: assistant, dialog, visitor. Dialogs $1 to $2.
targets() {
    sql "SELECT concat_ws(' ', assistant_id, id, 'bench-visitor-of-dialog-' || id) FROM dialogs
        WHERE id BETWEEN $1 AND $2 ORDER BY id"
}

fill() {
    psql -Xq -v ON_ERROR_STOP=1 -f Benchmarks/dialogs.sql -f Benchmarks/single_message.sql
    # A dialog's first message announces the dialog too. Every dialog has it behind it, so that no run pays for it.
    sql "SELECT count(bench.single_message(account_id, id, 'bench-visitor-of-dialog-' || id, gen_random_uuid(), 'First'))
        FROM dialogs" >/dev/null
    sql 'VACUUM ANALYZE'
}

# A new PostgreSQL with the schema and the dialogs.
start_postgres() {
    local url
    ./dev postgres remove "$database" >&2
    url=$(./dev postgres start "$database")
    [[ $url =~ ^postgresql://([^:@/]+):([^@/]+)@([^:/]+):([0-9]+)/ ]] || die "./dev postgres start printed another kind of URL."
    export PGUSER=${BASH_REMATCH[1]} PGPASSWORD=${BASH_REMATCH[2]} PGHOST=${BASH_REMATCH[3]} PGPORT=${BASH_REMATCH[4]}
    PGDATABASE=postgres sql 'CREATE DATABASE bench'
    export PGDATABASE=bench DATABASE_URL="${url%/*}/bench"
    "$replyx" migrate >"$work/migrate.log" 2>&1 || { tail -n 20 "$work/migrate.log" >&2; die "migrate failed."; }
    fill
}

need_redis() { command -v redis-server >/dev/null || die "there is no redis-server (Debian's package of that name)."; }
redis_version() { redis-server --version | grep -oP 'v=\K[0-9.]+'; }

# Redis as `./dev up` runs it, empty, on $redis_port.
start_redis() {
    redis_port=${redis_port:-$(free_port)}
    # Its bus holds nothing that PostgreSQL has not, so it keeps nothing on disk.
    redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no --dir "$work" \
        --maxmemory 256mb --maxmemory-policy volatile-ttl >"$work/redis.log" 2>&1 9>&- &
    redis=$!
    for _ in {1..50}; do
        [[ $(redis-cli -p "$redis_port" ping 2>/dev/null) != PONG ]] || return 0
        kill -0 "$redis" 2>/dev/null || break
        sleep 0.1
    done
    die "Redis did not start: see $work/redis.log."
}

kill_redis() {
    kill -KILL "$redis"
    wait "$redis" 2>/dev/null || true
    redis=
}

# Starts a server named $1, with REDIS_URL=$2, and waits until it is ready. Sets server, port and management.
start_server() {
    local _
    port=$(free_port)
    management=$port
    while ((management == port)); do management=$(free_port); done
    # Limits are of visitors; here a few hundred clients are all of them, behind one address.
    REPLYX_SECRETS=$secrets PORT=$port REPLYX_MANAGEMENT_PORT=$management REDIS_URL=${2:-} REPLYX_LIMITS=off \
        REPLYX_HOST=127.0.0.1 REPLYX_LOG_LEVEL=warning "$replyx" serve >"$work/$1.log" 2>&1 9>&- &
    server=$!
    servers+=("$server")
    for _ in {1..100}; do
        [[ -z $(get "$management" /readyz) ]] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/$1.log" >&2
    die "the server did not become ready."
}

# What the server with the management port $1 says of the bus: ok, degraded, not_configured, or absent if it says nothing.
bus_of() {
    local answer
    answer=$(get "$1" /readyz)
    [[ $answer =~ '"bus":"'([a-z_]+)'"' ]] && echo "${BASH_REMATCH[1]}" || echo absent
}
# Waits up to $3 tenths of a second until bus_of $1 is, or (with !) is not, $2.
wait_for_bus() {
    local n found
    for ((n = 0; n < $3; n++)); do
        found=$(bus_of "$1")
        if [[ $2 == "$found" || ($2 == '!'* && $2 != "!$found") ]]; then return 0; fi
        sleep 0.1
    done
    say "the bus of port $1 is $found after $(($3 / 10)) s, not $2."
    return 1
}

start_all() {
    [[ -d .local ]] || install -d -m 755 .local
    mkdir -p "$work"
    exec 9>.local/bench.lock
    flock -n 9 || die "another benchmark is at work here."
    find_postgres_programs
    command -v curl >/dev/null || die "there is no curl."
    # Ten thousand streams are ten thousand files, of the server and of the generator.
    ulimit -n "$(ulimit -Hn)"
    cc -O2 -Wall -Wextra -o "$work/load" Benchmarks/*.c
    if [[ ! -x $replyx ]]; then
        [[ -z ${REPLYX:-} ]] || die "there is no program $REPLYX."
        swift build -c release --product replyx >&2
    fi
    secrets=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    say "Starting PostgreSQL …"
    start_postgres
}

# Milliseconds that one client's transactions take. $1: the statement, $2…: which shares of them, 0.5 for the median.
transaction_ms() {
    rm -f "$work"/one.*
    echo "$1" >"$work/one.sql"
    timeout 30 pgbench -n -M prepared -c 1 -j 1 -T 2 -l --log-prefix="$work/one" -f "$work/one.sql" >/dev/null 2>"$work/pgbench.log" ||
        { cat "$work/pgbench.log" >&2; die "pgbench failed."; }
    # From one end to the next: for what takes less than 0.05 ms pgbench's own figure is often 0.
    awk '{ t = $5 * 1000000 + $6 } NR > 1 { print t - last } { last = t }' "$work"/one.[0-9]* | sort -n | awk -v shares="${*:2}" '{ v[NR] = $1 }
        END { n = split(shares, s, " "); for (i = 1; i <= n; i++) printf("%s%.3f", (i > 1 ? " " : ""), v[int((NR - 1) * s[i]) + 1] / 1000) }'
    rm -f "$work"/one.*
}
one_commit='UPDATE bench.one_row SET n = n + 1;'

# What the machine gives, before and after: other work on it shows here.
machine() {
    local busy
    busy=$(cut -d ' ' -f 1 /proc/loadavg)
    printf 'machine, %s: %s cores, load average %s; one client: SELECT 1 %s ms, one commit %s ms (medians)\n' "$1" "$(nproc)" \
        "$busy" "$(transaction_ms 'SELECT 1;' 0.5)" "$(transaction_ms "$one_commit" 0.5)"
}
postgres_settings() {
    printf 'PostgreSQL %s, fsync %s, synchronous_commit %s, shared_buffers %s' "$(sql 'SHOW server_version')" \
        "$(sql 'SHOW fsync')" "$(sql 'SHOW synchronous_commit')" "$(sql 'SHOW shared_buffers')"
}

# Counters of the database that differ from their rows; must be 0.
wrong_counters() {
    sql "SELECT (SELECT count(*) FROM accounts a WHERE last_seq <> (SELECT count(*) FROM events e WHERE e.account_id = a.id))
        + (SELECT count(*) FROM dialogs d WHERE last_seq <> (SELECT count(*) FROM messages m WHERE m.dialog_id = d.id))"
}

# The value of $1 in a line of key=value.
value() { tr ' ' '\n' | sed -n "s/^$1=//p"; }

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# $1 divided by $2, or a dash.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'; }
