# shellcheck shell=bash
# nginx before nodes, with deploy/nginx.conf itself, in a directory DIR: DIR/nginx.conf is a link to it, DIR/replyx holds
# the three parts that differ from place to place, DIR/tls a certificate made here. It listens for HTTP on one port and
# for HTTPS with HTTP/2 on another (DIR/ports).

# Debian's is in /usr/sbin, which is not in everybody's path.
nginx_program() { PATH=$PATH:/usr/sbin command -v nginx; }

# Debian's package starts an nginx of its own on port 80, unless it learns from `ss` (iproute2) that the port is taken.
# Should that start fail all the same, and the installation with it: the program is there, and that is all we need.
need_nginx() {
    nginx_program >/dev/null || (need_packages nginx iproute2) || nginx_program >/dev/null || die "there is no nginx."
}

nginx_certificate() {
    local tls=$1/tls name=IP:$2
    [[ ! -s $tls/fullchain.pem || ! -s $tls/privkey.pem ]] || return 0
    mkdir -p -- "$tls"
    [[ $2 =~ ^[0-9.]+$|: ]] || name=DNS:$2
    openssl ecparam -name prime256v1 -genkey -noout | write_private "$tls/privkey.pem"
    openssl req -x509 -new -key "$tls/privkey.pem" -days 825 -subj /CN=localhost \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,$name" -out "$tls/fullchain.pem"
}

# Writes the parts that differ: DIR HOST PORT HTTPS_PORT NODE…, each node as HOST:PORT. What is said of each node (when it
# is passed over) is said in deploy/nginx/nodes.conf.
nginx_configure() {
    local dir=$1 host=$2 port=$3 https=$4 said node kind
    shift 4
    mkdir -p -- "$dir/replyx"
    ln -sfn -- "$root/deploy/nginx.conf" "$dir/nginx.conf"
    while read -r said; do
        for node in "$@"; do echo "server $node $said"; done
    done >"$dir/replyx/nodes.conf" < <(sed -n 's/^server node1:8000 //p' deploy/nginx/nodes.conf)
    cat >"$dir/replyx/listen.conf" <<END
listen $host:$port default_server backlog=4096 so_keepalive=60s:15s:4;
listen $host:$https ssl http2 default_server backlog=4096 so_keepalive=60s:15s:4;
ssl_certificate tls/fullchain.pem;
ssl_certificate_key tls/privkey.pem;
END
    # Nothing is ever written to these, but nginx makes them all, and Debian's are not for everybody.
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $kind;"; done >"$dir/replyx/extras.conf"
}

# Whether its master runs. Workers whose master was killed go on by themselves, deaf to everything.
nginx_runs() {
    local process
    for process in $(daemons_in "$1" nginx); do
        ! grep -qsa '^nginx: master' "/proc/$process/cmdline" || return 0
    done
    return 1
}

# Starts it: DIR HOST PORT HTTPS_PORT NODE…
nginx_start() {
    local dir=$1 host=$2 port=$3 https=$4 program _
    ! nginx_runs "$dir" || return 0
    nginx_stop "$dir" immediate
    program=$(nginx_program) || die "there is no nginx."
    mkdir -p -- "$dir"
    nginx_certificate "$dir" "$host"
    nginx_configure "$@"
    echo "$port $https" >"$dir/ports"
    # Its log is two: what it says of itself, and the requests, a line of JSON each.
    : >"$dir/log"
    daemon_start "$dir" "$program" -p "$dir/" -c "$dir/nginx.conf" -e stderr -g 'daemon off; pid nginx.pid;'
    for _ in {1..50}; do
        if port_taken "$port" && port_taken "$https" && nginx_runs "$dir"; then return 0; fi
        sleep 0.1
    done
    tail -n 20 "$dir/log" >&2
    nginx_stop "$dir" immediate
    die "nginx in $dir did not start."
}

nginx_stop() { daemon_stop "$1" nginx "${2:-fast}"; }

nginx_remove() {
    [[ -L $1/nginx.conf ]] || return 0
    nginx_stop "$1" immediate
    rm -rf -- "$1"
}

# For tests: on free ports, kept over a stop. Prints the two addresses.
verb_nginx() {
    local verb=${1:-} dir=${2:-} port='' https nodes=()
    [[ ($verb == start && $# -ge 3) || ($verb =~ ^(stop|remove)$ && $# == 2) ]] ||
        die "usage: ./dev nginx start DIR NODE-URL… | stop DIR | remove DIR"
    dir=$(cd -- "$called_from" && realpath -m -- "$dir")
    if [[ $verb != start ]]; then "nginx_$verb" "$dir"; return 0; fi
    read -r port https < <(cat "$dir/ports" 2>/dev/null) || true
    if [[ -z $port ]]; then
        port=$(free_port $((20000 + RANDOM % 10000)))
        https=$(free_port $((port + 1)))
    fi
    mapfile -t nodes < <(printf '%s\n' "${@:3}" | sed 's,^http://,,; s,/$,,')
    nginx_start "$dir" 127.0.0.1 "$port" "$https" "${nodes[@]}"
    printf '%s\n' "http://127.0.0.1:$port" "https://127.0.0.1:$https"
}
