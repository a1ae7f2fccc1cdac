# shellcheck shell=bash
# up, down and clean.

# Exports DATABASE_URL. One that came from our own demo.env still means the private PostgreSQL, which must be started.
use_database() {
    local private
    private=$(postgres_url "$root/.local/postgres" || true)
    if [[ -z ${DATABASE_URL:-} || $DATABASE_URL == "${private%/*}/replyx" ]]; then
        private=$(postgres_start "$root/.local/postgres")
        DATABASE_URL=${private%/*}/replyx
    fi
    export DATABASE_URL
}

# Exports REDIS_URL, likewise. Set to nothing it stays so: nodes without a bus.
use_redis() {
    if [[ ! -v REDIS_URL || (-n $REDIS_URL && $REDIS_URL == "$(redis_url "$root/.local/redis")") ]]; then
        REDIS_URL=$(redis_start "$root/.local/redis")
    fi
    export REDIS_URL
}

use_secrets() {
    [[ -z ${REPLYX_SECRETS:-} ]] || return 0
    [[ -s .local/secrets.env ]] || echo "REPLYX_SECRETS=$(openssl rand -hex 32)" | write_private .local/secrets.env
    # shellcheck source=/dev/null
    . .local/secrets.env
    export REPLYX_SECRETS
}

# What `up` was asked for.
wanted_nodes=1 wanted_nginx='' wanted_foreground=''
# Where browsers come in: a node, or nginx.
host=127.0.0.1 url='' https_url=''

parse_up() {
    local usage="usage: ./dev up [--nodes 1…4] [--nginx] [--foreground]"
    while (($#)); do
        case $1 in
        --nodes)
            [[ ${2:-} =~ ^[1-4]$ ]] || die "$usage"
            wanted_nodes=$2
            shift ;;
        --nginx) wanted_nginx=1 ;;
        --foreground) wanted_foreground=1 ;;
        *) die "$usage" ;;
        esac
        shift
    done
    PORT=${PORT:-8000}
    [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] || die "PORT=$PORT is no port."
    host=${REPLYX_HOST:-127.0.0.1}
    [[ -n $wanted_nginx ]] || node_host=$host
    [[ $host != 0.0.0.0 ]] || host=127.0.0.1
    url=http://$host:$PORT
}

# Whether something of ours is up. If it is not what was asked for now, that is the end.
already_up() {
    local running nginx=
    load_nodes
    ! nginx_runs "$root/.local/nginx" || nginx=1
    [[ -n $nginx ]] || any_node_runs || return 1
    running=$(demo_value REPLYX_URL)
    https_url=$(demo_value REPLYX_HTTPS_URL)
    [[ $running == "$url" && ${#node_urls[@]} == "$wanted_nodes" && ${https_url:+1} == "$wanted_nginx" ]] ||
        die "already up on $running, nodes: ${#node_urls[@]}${https_url:+, behind nginx}. ./dev down stops it."
    # Those that are missing come back on the database and the Redis of the others.
    DATABASE_URL=$(demo_value DATABASE_URL)
    REDIS_URL=$(demo_value REDIS_URL)
}

# Gives out the ports: the first node's is PORT, unless that is nginx's.
plan_nodes() {
    local i address=$host port=$PORT management https
    ! port_taken "$PORT" || die "port $PORT is taken by another program. Choose another: PORT=$((PORT + 1)) ./dev up"
    management=${REPLYX_MANAGEMENT_PORT:-$(free_port 9000)}
    https_url=
    if [[ -n $wanted_nginx ]]; then
        https=$(free_port 8443)
        https_url=https://$host:$https
        address=127.0.0.1
        port=$(free_port $((PORT + 1)))
    fi
    node_pids=() node_urls=() node_managements=()
    for ((i = 0; i < wanted_nodes; i++)); do
        node_pids+=(0) node_urls+=("http://$address:$port")
        node_managements+=("http://127.0.0.1:$management")
        port=$(free_port $((port + 1)))
        management=$(free_port $((management + 1)))
    done
}

# A node that was away is passed over for some seconds, hence the waiting.
start_nginx() {
    local _
    [[ -n $wanted_nginx ]] || return 0
    nginx_start "$root/.local/nginx" "${REPLYX_HOST:-127.0.0.1}" "$PORT" "${https_url##*:}" "${node_urls[@]#http://}"
    for _ in {1..100}; do
        if is_ready "$url"; then return 0; fi
        sleep 0.1
    done
    die "nginx finds no node: see .local/nginx/log, ./dev down stops it."
}

stop_server() {
    load_nodes
    stop_nodes "${!node_pids[@]}"
    nginx_stop "$root/.local/nginx"
    rm -f .local/nodes
}

# One node becomes this process. More of them write their logs as ever; they are shown until no node is left.
serve_in_foreground() {
    local i files=()
    if [[ $wanted_nodes == 1 && -z $wanted_nginx ]]; then
        node_pids=($$)
        save_nodes
        welcome
        exec_as_node 0 "$server" serve 9>&-
    fi
    start_nodes
    start_nginx
    welcome
    exec 9>&-
    trap 'stop_server; kill "$logs" 2>/dev/null' EXIT
    trap 'exit 0' INT TERM HUP
    for i in "${!node_urls[@]}"; do files+=("$(node_log "$i")"); done
    tail -q -n +1 -F "${files[@]}" 2>/dev/null &
    logs=$!
    while any_node_runs; do
        sleep 1
        load_nodes
    done
    exit
}

verb_up() {
    parse_up "$@"
    need_swift
    need_packages "${system_packages[@]}"
    [[ -z $wanted_nginx ]] || need_nginx
    lock up
    if already_up; then
        say "Already up. To serve newer code: ./dev down, then ./dev up."
        use_database
        use_redis
        use_secrets
    else
        plan_nodes
        build_release
        use_database
        use_redis
        use_secrets
        quietly migrate "$server" migrate || die "replyx migrate failed."
        make_demo
    fi
    # Embed codes name the address that browsers use, whichever node makes them.
    export REPLYX_PUBLIC_URL=${REPLYX_PUBLIC_URL:-$url}
    [[ -z $wanted_nginx ]] || export REPLYX_TRUSTED_PROXIES=${REPLYX_TRUSTED_PROXIES:-127.0.0.1}
    if [[ -n $wanted_foreground ]] && ! any_node_runs; then serve_in_foreground; fi
    start_nodes
    start_nginx
    welcome
}

verb_down() {
    stop_server
    redis_stop "$root/.local/redis"
    postgres_stop "$root/.local/postgres"
    say "Stopped."
}

verb_clean() {
    local kept
    verb_down
    for kept in postgres test-postgres; do postgres_remove "$root/.local/$kept"; done
    redis_remove "$root/.local/redis"
    rm -rf .local
    say "Removed .local: database, secrets, demo account, logs and Python packages. The build in .build is kept."
}
