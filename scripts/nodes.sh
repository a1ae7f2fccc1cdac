# shellcheck shell=bash
# The nodes: processes of our own server on one database. .local/nodes has a line for each, `pid url management-url`;
# the line of one that died stays, so that `up` can start it again where it was.

# A pid of 0 is a node that was not started yet.
node_pids=() node_urls=() node_managements=()
# What they listen on.
node_host=127.0.0.1

load_nodes() {
    local pid url management
    node_pids=() node_urls=() node_managements=()
    [[ -f .local/nodes ]] || return 0
    while read -r pid url management; do
        node_pids+=("$pid") node_urls+=("$url") node_managements+=("$management")
    done <.local/nodes
}

save_nodes() {
    local i
    for i in "${!node_urls[@]}"; do echo "${node_pids[i]} ${node_urls[i]} ${node_managements[i]}"; done >.local/nodes.new
    mv -f .local/nodes.new .local/nodes
}

node_runs() { runs "${node_pids[$1]}" "$server"; }

any_node_runs() {
    local i
    for i in "${!node_pids[@]}"; do ! node_runs "$i" || return 0; done
    return 1
}

is_ready() { curl -fsS --noproxy '*' -m 2 -o /dev/null "$1/readyz" 2>/dev/null; }

# The log of node $1, counted from 0: .local/replyx.log, .local/replyx-2.log …
node_log() { if (($1 == 0)); then echo .local/replyx.log; else echo ".local/replyx-$(($1 + 1)).log"; fi; }

# Becomes a command with the environment of node $1.
exec_as_node() {
    local url=${node_urls[$1]} management=${node_managements[$1]}
    exec env PORT="${url##*:}" REPLYX_MANAGEMENT_PORT="${management##*:}" REPLYX_HOST="$node_host" "${@:2}"
}

# Starts those that do not run and waits until each is ready. If one is not, those that were started here are stopped.
start_nodes() {
    local i log started=() deadline=$((SECONDS + 20))
    for i in "${!node_urls[@]}"; do
        ! node_runs "$i" || continue
        log=$(node_log "$i")
        [[ ! -f $log ]] || mv -f "$log" "$log.old"
        write_private "$log" </dev/null
        exec_as_node "$i" setsid "$server" serve </dev/null >>"$log" 2>&1 9>&- &
        node_pids[i]=$!
        started+=("$i")
    done
    save_nodes
    for i in "${started[@]}"; do
        until is_ready "${node_urls[i]}"; do
            if ! kill -0 "${node_pids[i]}" 2>/dev/null || ((SECONDS >= deadline)); then
                log=$(node_log "$i")
                tail -n 40 "$log" >&2
                stop_nodes "${started[@]}"
                die "the server did not become ready; the end of $log is above."
            fi
            sleep 0.1
        done
    done
}

# Stops the nodes $@, all at once. A server ends its streams within 10 s; one that does not is killed.
stop_nodes() {
    local i _ running=()
    for i in "$@"; do ! node_runs "$i" || kill -TERM "${node_pids[i]}" 2>/dev/null || true; done
    for _ in {1..120}; do
        running=()
        for i in "$@"; do ! node_runs "$i" || running+=("${node_pids[i]}"); done
        ((${#running[@]})) || return 0
        sleep 0.1
    done
    say "A server did not stop in 12 s: killed."
    kill -KILL "${running[@]}" 2>/dev/null || true
}

# For tests and walk-throughs: those that run.
verb_nodes() {
    local i
    load_nodes
    for i in "${!node_urls[@]}"; do
        ! node_runs "$i" || echo "${node_pids[i]} ${node_urls[i]} ${node_managements[i]}"
    done
}
