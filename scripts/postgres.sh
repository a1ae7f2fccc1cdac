# shellcheck shell=bash
# A private PostgreSQL in a directory DIR.
#
# DIR/server belongs to the user who runs it (data, log); DIR/port and DIR/password (600) are ours. It listens on
# 127.0.0.1 with a random password rather than on a socket: a socket's path is limited to 107 bytes.

# Runs a command for PostgreSQL with a bare environment: no PGPORT of somebody's shell, no secrets. PostgreSQL refuses
# to run as root; then it is the user `postgres`, made by Debian's package.
as_postgres() (
    local other_user=()
    ((EUID != 0)) || other_user=(setpriv --reuid=postgres --regid=postgres --init-groups)
    cd /
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ "${other_user[@]}" "$@" 9>&-
)

# The programs of the version that made the data, else of the newest.
postgres_programs() {
    local version newest
    version=$(cat "$1/PG_VERSION" 2>/dev/null || echo '[0-9]*')
    newest=$(compgen -G "/usr/lib/postgresql/$version/bin" | sort -V | tail -n 1) || true
    [[ -x $newest/initdb ]] || die "there is no /usr/lib/postgresql/$version/bin/initdb."
    echo "$newest"
}

# Where the server keeps its files: DIR/server. If its user cannot get there (a checkout under /root), that is a link
# to a directory in /var/tmp, which outlives a restart of the machine.
postgres_home() {
    local home=$1/server
    if [[ ! -d $home ]]; then
        rm -f -- "$home"
        install -d -m 700 -- "$home"
        ((EUID != 0)) || chown postgres: -- "$home"
        if ! as_postgres test -w "$home"; then
            rmdir -- "$home"
            ln -s "$(as_postgres mktemp -d /var/tmp/replyx-postgres.XXXXXX)" "$home"
        fi
    fi
    readlink -f -- "$home"
}

# Makes the data under another name first, so that an interrupted initdb leaves nothing that looks finished.
postgres_init() {
    local home=$1 password=$2 data=$1/data.new programs
    as_postgres rm -rf -- "$data"
    programs=$(postgres_programs "$data")
    # shellcheck disable=SC2016 # the inner shell expands it
    as_postgres sh -c 'umask 077; cat >"$1"' sh "$home/password" <"$password"
    as_postgres "$programs/initdb" -D "$data" -U replyx --pwfile="$home/password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    as_postgres rm -- "$home/password"
    as_postgres tee -a "$data/postgresql.conf" >/dev/null <<'END'

listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 128MB
fsync = on
synchronous_commit = on
END
    echo 'CREATE DATABASE replyx' | as_postgres "$programs/postgres" --single -D "$data" -c log_checkpoints=off postgres >/dev/null
    as_postgres mv -- "$data" "$home/data"
}

postgres_url() {
    [[ -s $1/port && -s $1/password ]] || return 1
    echo "postgresql://replyx:$(<"$1/password")@127.0.0.1:$(<"$1/port")/postgres"
}

postgres_runs() { runs "$(head -n 1 "$1/postmaster.pid" 2>/dev/null)" "$1"; }

# After a crash a pid file may be left whose number is another program's by now; PostgreSQL would refuse to start.
# It is removed once no process of the crashed server works in the data directory any more.
postgres_clear_crash() {
    local data=$1 _
    for _ in {1..50}; do
        if [[ -z $(as_postgres find /proc -maxdepth 2 -name cwd -lname "$data" 2>/dev/null) ]]; then
            rm -f -- "$data/postmaster.pid"
            return 0
        fi
        sleep 0.2
    done
}

# Starts it, made first if need be, on the port it had unless another program has taken that. Prints the URL.
postgres_start() {
    local dir=$1 home data programs port _
    mkdir -p -- "$dir"
    home=$(postgres_home "$dir")
    data=$home/data
    if [[ ! -d $data ]]; then
        openssl rand -hex 24 | write_private "$dir/password"
        postgres_init "$home" "$dir/password"
    fi
    if ! postgres_runs "$data"; then
        programs=$(postgres_programs "$data")
        postgres_clear_crash "$data"
        for _ in 1 2 3; do
            port=$(cat "$dir/port" 2>/dev/null || true)
            if [[ -z $port ]] || port_taken "$port"; then port=$(free_port $((20000 + RANDOM % 10000))); fi
            echo "$port" >"$dir/port"
            as_postgres "$programs/pg_ctl" -D "$data" -l "$home/log" -o "-p $port" -w -s start >&2 && break
            sleep 1
        done
        postgres_runs "$data" || { tail -n 20 "$home/log" >&2; die "PostgreSQL in $dir did not start."; }
    fi
    postgres_url "$dir"
}

postgres_stop() {
    local data programs _
    data=$(readlink -f -- "$1/server")/data || return 0
    postgres_runs "$data" || return 0
    programs=$(postgres_programs "$data")
    # Not pg_ctl's own wait: where process 1 is slow to bury the dead, it takes the dead for the living, for a minute.
    as_postgres "$programs/pg_ctl" -D "$data" -m "${2:-fast}" -W -s stop >&2
    for _ in {1..600}; do
        postgres_runs "$data" || return 0
        sleep 0.1
    done
    die "PostgreSQL in $1 did not stop."
}

postgres_restart() {
    local url
    url=$(postgres_url "$1") || die "there is no PostgreSQL in $1."
    postgres_stop "$1" "${2:-fast}"
    [[ $(postgres_start "$1") == "$url" ]] || die "the port of $url was taken meanwhile."
    echo "$url"
}

postgres_remove() {
    [[ -e $1/server || -L $1/server ]] || return 0
    postgres_stop "$1" immediate
    rm -rf -- "$(readlink -f -- "$1/server")"
    rm -rf -- "$1/server" "$1/port" "$1/password"
    rmdir --ignore-fail-on-non-empty -- "$1"
}

verb_postgres() {
    local verb=${1:-} dir=${2:-} mode=${3:-fast}
    [[ $verb =~ ^(start|stop|restart|url|remove)$ && -n $dir && $mode =~ ^(fast|immediate)$ ]] ||
        die "usage: ./dev postgres start|stop|restart|url|remove DIR [fast|immediate]"
    dir=$(cd -- "$called_from" && realpath -m -- "$dir")
    "postgres_$verb" "$dir" "$mode"
}
