# shellcheck shell=bash
# A private Redis in a directory DIR, which holds its password (600), its configuration (600), its port and its log.
# Nothing is kept on disk: Redis holds nothing that PostgreSQL does not hold, and starting empty is a case to be used to.

redis_url() {
    [[ -s $1/port && -s $1/password ]] || return 1
    echo "redis://:$(<"$1/password")@127.0.0.1:$(<"$1/port")/0"
}

redis_runs() { [[ -n $(daemons_in "$1" redis-server) ]]; }

redis_answers() {
    [[ $(REDISCLI_AUTH=$(<"$1/password") timeout 2 redis-cli -h 127.0.0.1 -p "$(<"$1/port")" ping 2>&1) == PONG ]]
}

# Short-lived keys go first when memory is short. The streams of the bus have no expiry, so they are never evicted
# behind our back; when only they are left, XADD is refused and the publisher trims them.
redis_configure() {
    write_private "$1/redis.conf" <<END
bind 127.0.0.1
port $(<"$1/port")
requirepass $(<"$1/password")
save ""
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl
END
}

# Starts it on the port it had, unless another program has taken that. Prints the URL.
redis_start() {
    local dir=$1 port _
    mkdir -p -- "$dir"
    if ! redis_runs "$dir"; then
        [[ -s $dir/password ]] || openssl rand -hex 24 | write_private "$dir/password"
        port=$(cat "$dir/port" 2>/dev/null || true)
        if [[ -z $port ]] || port_taken "$port"; then port=$(free_port $((20000 + RANDOM % 10000))); fi
        echo "$port" >"$dir/port"
        redis_configure "$dir"
        daemon_start "$dir" redis-server redis.conf
    fi
    for _ in {1..100}; do
        if redis_answers "$dir"; then redis_url "$dir"; return 0; fi
        sleep 0.1
    done
    tail -n 20 "$dir/log" >&2
    die "Redis in $dir did not start."
}

redis_stop() { daemon_stop "$1" redis-server "${2:-fast}"; }

redis_restart() {
    local url
    url=$(redis_url "$1") || die "there is no Redis in $1."
    redis_stop "$1" "${2:-fast}"
    [[ $(redis_start "$1") == "$url" ]] || die "the port of $url was taken meanwhile."
    echo "$url"
}

redis_remove() {
    [[ -e $1/password ]] || return 0
    redis_stop "$1" immediate
    rm -f -- "$1/port" "$1/password" "$1/redis.conf" "$1/log"
    rmdir --ignore-fail-on-non-empty -- "$1"
}

verb_redis() {
    local verb=${1:-} dir=${2:-} mode=${3:-fast}
    [[ $verb =~ ^(start|stop|restart|url|remove)$ && -n $dir && $mode =~ ^(fast|immediate)$ ]] ||
        die "usage: ./dev redis start|stop|restart|url|remove DIR [fast|immediate]"
    dir=$(cd -- "$called_from" && realpath -m -- "$dir")
    "redis_$verb" "$dir" "$mode"
}
