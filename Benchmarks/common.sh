# shellcheck shell=bash disable=SC2034
# Sourced by posts.sh and streams.sh: a private PostgreSQL with the benchmark's dialogs, a release build of the server
# on free ports, the load generator; all of it stopped on exit. Nothing outside .local/ is touched.
set -euo pipefail
shopt -s inherit_errexit
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
work=.local/bench
database=.local/bench-postgres
replyx=.build/release/replyx
server=

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

# The first line of the answer to GET $2 on port $1.
status_of() {
    # shellcheck disable=SC2016 # the inner shell expands it
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" "$2" >&3
        head -n 1 <&3' - "$1" "$2" 2>/dev/null || true
}

stop_all() {
    local status=$? _
    trap - EXIT INT TERM
    if [[ -n $server ]]; then
        kill -TERM "$server" 2>/dev/null || true
        for _ in {1..60}; do kill -0 "$server" 2>/dev/null || break; sleep 0.2; done
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
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

start_postgres() {
    local url
    ./dev postgres remove "$database" >&2
    url=$(./dev postgres start "$database")
    [[ $url =~ ^postgresql://([^:@/]+):([^@/]+)@([^:/]+):([0-9]+)/ ]] || die "./dev postgres start printed another kind of URL."
    export PGUSER=${BASH_REMATCH[1]} PGPASSWORD=${BASH_REMATCH[2]} PGHOST=${BASH_REMATCH[3]} PGPORT=${BASH_REMATCH[4]}
    PGDATABASE=postgres sql 'CREATE DATABASE bench'
    export PGDATABASE=bench DATABASE_URL="${url%/*}/bench"
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

start_server() {
    local management _
    port=$(free_port)
    management=$port
    while ((management == port)); do management=$(free_port); done
    REPLYX_SECRETS=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') PORT=$port REPLYX_MANAGEMENT_PORT=$management \
        REPLYX_HOST=127.0.0.1 REPLYX_LOG_LEVEL=warning "$replyx" serve >"$work/server.log" 2>&1 9>&- &
    server=$!
    for _ in {1..100}; do
        [[ $(status_of "$management" /readyz) != *' 200 '* ]] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/server.log" >&2
    die "the server did not become ready."
}

start_all() {
    [[ -d .local ]] || install -d -m 755 .local
    mkdir -p "$work"
    exec 9>.local/bench.lock
    flock -n 9 || die "another benchmark is at work here."
    find_postgres_programs
    # Ten thousand streams are ten thousand files, of the server and of the generator.
    ulimit -n "$(ulimit -Hn)"
    cc -O2 -Wall -Wextra -o "$work/load" Benchmarks/load.c Benchmarks/wire.c Benchmarks/posts.c
    [[ -x $replyx ]] || swift build -c release --product replyx >&2
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    say "Starting PostgreSQL and the server …"
    start_postgres
    "$replyx" migrate >"$work/migrate.log" 2>&1 || { tail -n 20 "$work/migrate.log" >&2; die "migrate failed."; }
    fill
    start_server
}

# The value of $1 in a line of key=value.
value() { tr ' ' '\n' | sed -n "s/^$1=//p"; }

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# $1 divided by $2, or a dash.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'; }
