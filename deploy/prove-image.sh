#!/usr/bin/env bash
# Replays deploy/Dockerfile where there is no container engine, and then runs what came out of it as a container would.
#
# Every instruction is read from the Dockerfile and carried out in a Debian root made by debootstrap, each one a layer
# (overlayfs) of its own; an instruction that is not known here ends the replay. The base images are stood in for: both
# by debootstrap's bookworm, swift:…-bookworm with the packages of the official image and this machine's toolchain.
# The last stage is then started read-only, as the image's user, without any privilege: migrate, demo, serve, a message.
#
# As root, with debootstrap and a Swift toolchain for bookworm that has a directory of its own. Settings:
#   DATABASE_URL  an empty database, on 127.0.0.1; none: a private PostgreSQL for the time being
#   REDIS_URL     none: a private redis-server with deploy/redis.conf
#   DIR           .local/image: where everything is kept, on a file system that can be overlaid
#   KEEP=1        leave the layers and caches there: the next replay goes on from them, as an engine's would
#   MIRROR        http://deb.debian.org/debian
#   GITCONFIG, BIND  where git reads the packages from a mirror: the git configuration that says so, and the
#                 directories that it names, separated by spaces; both are seen by the build only
set -euo pipefail
shopt -s inherit_errexit nullglob
self=$(realpath -- "${BASH_SOURCE[0]}")
cd -- "$(dirname -- "$self")/.."
dir=$(realpath -m -- "${DIR:-.local/image}")
mirror=${MIRROR:-http://deb.debian.org/debian}
layers=$dir/layers caches=$dir/caches

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'prove-image: %s\n' "$*" >&2; exit 1; }
hash_of() { sha256sum | head -c 16; }

# ---- Layers. A stage's layers are in `stack`, newest first, joined by colons; `key` names all that was done so far.

# Begins a layer unless it is there already: the merged root is then at $root. $1 names what will be done.
begin_layer() {
    key=$(printf '%s\n%s' "$key" "$1" | hash_of)
    root=$dir/root
    [[ ! -e $layers/$key ]] || { stack=$layers/$key:$stack; return 1; }
    rm -rf -- "$dir/upper" "$dir/work"
    mkdir -p "$dir/upper" "$dir/work" "$root"
    mount -t overlay overlay -o "lowerdir=$stack,upperdir=$dir/upper,workdir=$dir/work" "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
}

end_layer() {
    umount --recursive "$root"
    mv -- "$dir/upper" "$layers/$key"
    stack=$layers/$key:$stack
}

# Runs a command in $root with the image's environment, in its working directory.
in_root() { chroot "$root" env -i --chdir="$workdir" HOME=/root "${environment[@]}" "$@" </dev/null; }

# ---- The base images

debian() {
    key=$(printf 'debian %s' "$mirror" | hash_of)
    stack=$layers/$key
    [[ ! -e $stack ]] || return 0
    say "debootstrap bookworm"
    rm -rf -- "$dir/upper"
    debootstrap --variant=minbase bookworm "$dir/upper" "$mirror" >"$dir/debootstrap.log" 2>&1 ||
        { tail -n 20 "$dir/debootstrap.log" >&2; die "debootstrap failed."; }
    cat >"$dir/upper/etc/apt/sources.list" <<END
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb $mirror-security bookworm-security main
END
    # As in the official image: no documents, no translations, no packages kept once they are installed.
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$dir/upper/etc/dpkg/dpkg.cfg.d/slim"
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"; };' \
        >"$dir/upper/etc/apt/apt.conf.d/slim"
    rm -rf "$dir/upper"/usr/share/{doc,man,info,locale}/* "$dir/upper"/var/lib/apt/lists/* "$dir/upper"/var/log/*
    rm -f "$dir/upper"/var/cache/apt/archives/*.deb "$dir/upper"/var/cache/apt/*.bin
    mv -- "$dir/upper" "$stack"
}

# The packages are those of swiftlang/swift-docker, 6.3/debian/12/Dockerfile; the toolchain lies in /usr there as well.
swift() {
    local toolchain packages=(
        binutils libicu-dev libcurl4-openssl-dev libedit-dev libsqlite3-dev libncurses-dev libpython3-dev libxml2-dev
        pkg-config uuid-dev tzdata git gcc libstdc++-12-dev)
    toolchain=$(realpath -- "$(type -P swift)")
    toolchain=${toolchain%/usr/bin/*}
    [[ -n $toolchain && -x $toolchain/usr/bin/swift ]] || die "the Swift toolchain must have a directory of its own."
    debian
    if begin_layer "${packages[*]}"; then
        say "the packages of the official Swift image"
        in_root env DEBIAN_FRONTEND=noninteractive sh -ec "apt-get -q update && apt-get -q install -y ${packages[*]} && rm -r /var/lib/apt/lists/*"
        end_layer
    fi
    stack=$toolchain:$stack
}

# ---- The instructions

do_from() {
    [[ -z ${name:-} ]] || stages[$name]=$stack
    environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    workdir=/ user=0:0 name=last entrypoint=() command=()
    case $1 in
    swift:*-bookworm) swift ;;
    debian:bookworm-slim) debian ;;
    *) die "there is no stand-in for the image $1." ;;
    esac
    [[ ${2:-} != AS ]] || name=$3
}

do_run() {
    local text=$1 cached=() path
    while [[ $text =~ ^--mount=type=cache,target=([^,[:space:]]+)[^[:space:]]*[[:space:]]+(.*)$ ]]; do
        cached+=("${BASH_REMATCH[1]}") text=${BASH_REMATCH[2]}
    done
    [[ $text != --* ]] || die "an option of RUN is not known here: $text"
    begin_layer "RUN $1 $workdir ${environment[*]}" || return 0
    for path in "${cached[@]}"; do
        mkdir -p "$root$path" "$caches$path"
        mount --bind "$caches$path" "$root$path"
    done
    # Of the machine, not of the image: only where sources are fetched, and gone with the layer's mounts.
    if [[ -x $root/usr/bin/git ]]; then
        for path in ${BIND:-}; do
            mkdir -p "$root$path"
            mount --bind -o ro "$path" "$root$path"
        done
        [[ -z ${GITCONFIG:-} ]] || { touch "$root/etc/gitconfig"; mount --bind "$GITCONFIG" "$root/etc/gitconfig"; }
    fi
    in_root /bin/sh -c "$text" || die "RUN ended with status $?."
    end_layer
}

# What .dockerignore lets through: it must be a list of what is taken.
make_context() {
    local line
    rm -rf -- "$dir/context"
    mkdir "$dir/context"
    while IFS= read -r line; do
        case $line in
        '' | '#'* | '*') ;;
        '!'*) [[ ! -e ${line:1} ]] || cp -a --parents -- "${line:1}" "$dir/context" ;;
        *) die ".dockerignore must begin with * and then name what is taken by !, but has: $line" ;;
        esac
    done <.dockerignore
}

do_copy() {
    local source=$dir/context
    if [[ $1 == --from=* ]]; then
        root=$dir/from
        mkdir -p "$root"
        mount -t overlay overlay -o "lowerdir=${stages[${1#--from=}]}" "$root"
        source=$root
        shift
    fi
    [[ $# == 2 && -d $source/$1 ]] || die "only COPY of one directory is known here, not: $*"
    source=$(realpath -- "$source/$1")
    local content
    content=$(cd -- "$source" && tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -c . | hash_of)
    if begin_layer "COPY $content $workdir $2"; then
        local to
        to=$root$(realpath -m -- "/$workdir/$2")
        [[ $2 != /* ]] || to=$root$2
        mkdir -p "$to"
        cp -a --no-preserve=ownership -- "$source/." "$to"
        end_layer
    fi
    ! mountpoint -q "$dir/from" || umount "$dir/from"
}

# A JSON array of plain words.
words() { local text=${1//[][\",]/ }; read -ra words <<<"$text"; }

replay() {
    local line instruction rest words
    declare -gA stages=()
    while IFS= read -r line; do
        read -r instruction rest <<<"$line"
        [[ $instruction =~ ^(EXPOSE|STOPSIGNAL|ARG|LABEL|)$ ]] || say "$line"
        # shellcheck disable=SC2086,SC2206 # an instruction's words
        case $instruction in
        FROM) do_from $rest ;;
        RUN) do_run "$rest" ;;
        COPY) do_copy $rest ;;
        WORKDIR) workdir=$rest; if begin_layer "WORKDIR $rest"; then mkdir -p "$root$rest"; end_layer; fi ;;
        ENV) [[ $rest != *[\"\'\\]* ]] || die "quotes in ENV are not known here."; environment+=($rest) ;;
        USER) user=$rest ;;
        ENTRYPOINT) words "$rest"; entrypoint=("${words[@]}") ;;
        CMD) words "$rest"; command=("${words[@]}") ;;
        EXPOSE | STOPSIGNAL | ARG | LABEL | '') ;;
        *) die "the instruction $instruction is not known here." ;;
        esac
    done < <(sed -e '/^[[:space:]]*#/d' deploy/Dockerfile | sed -e ':more' -e '/\\$/{N;s/[[:space:]]*\\\n[[:space:]]*/ /;b more' -e '}')
}

# ---- The last stage, as a container: a root that cannot be written, the image's user, no privilege and no way to one.

free_port() {
    local port=$((20000 + RANDOM % 10000))
    while grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf %04X $port) " /proc/net/tcp /proc/net/tcp6; do port=$((port + 1)); done
    echo $port
}

# Asks the server: PATH, then options of curl.
ask() { curl -sS --fail-with-body --noproxy '*' -m 5 "http://127.0.0.1:$port$1" "${@:2}"; }
field() { sed -E "s/.*\"$1\":\"?([^\",}]*).*/\1/"; }

show_libraries() {
    local missing library package
    say "shared libraries that the program names, and whose they are"
    missing=$(in_root ldd /usr/local/bin/replyx | grep 'not found' || true)
    [[ -z $missing ]] || die "libraries are missing: $missing"
    for library in $(objdump -p "$root/usr/local/bin/replyx" | sed -n 's/^ *NEEDED *//p'); do
        package=$(in_root dpkg -S "*/$library" | cut -d: -f1 | sort -u)
        echo "$library ${package:-?}"
    done | column -t
}

# Sets `container`, which runs a command.
make_container() {
    root=$dir/root
    mkdir -p "$root"
    mount -t overlay overlay -o "lowerdir=$stack" "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    port=$(free_port)
    # The address aside, which is a network's of its own in a container, all of this is what docker-compose.yml gives.
    container=(chroot "$root" env -i --chdir="$workdir" HOME=/nonexistent "${environment[@]}" REPLYX_HOST=127.0.0.1
        PORT="$port" REPLYX_MANAGEMENT_PORT="$(free_port)" DATABASE_URL="$DATABASE_URL" REDIS_URL="$REDIS_URL"
        REPLYX_SECRETS="$(openssl rand -hex 32)" REPLYX_PUBLIC_URL=http://localhost
        setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --no-new-privs --inh-caps=-all
        --bounding-set=-all)
}

# Sets `init` and `server`: process 1 of a namespace of its own, as in a container. So must /proc be, where libdispatch
# looks after its threads: in another namespace's it finds none, and crashes.
start_server() {
    local deadline=$((SECONDS + 20))
    unshare --pid --fork --kill-child --mount-proc="$root/proc" "${container[@]}" "${entrypoint[@]}" "${command[@]}" </dev/null &
    init=$!
    until "${container[@]}" replyx-ready 2>/dev/null; do
        kill -0 "$init" || die "the server ended."
        ((SECONDS < deadline)) || die "the server did not become ready."
        sleep 0.2
    done
    server=$(pgrep --parent "$init")
}

run_as_container() {
    local container port init server token opened guest dialog status=0 begun
    make_container
    show_libraries
    say "migrate, demo, serve, as user $user on a root that is read only"
    "${container[@]}" "${entrypoint[@]}" migrate
    token=$("${container[@]}" "${entrypoint[@]}" demo | sed -n 's/^REPLYX_SITE_TOKEN=//p')
    start_server
    grep -E '^(NSpid|Uid|Gid|CapEff|CapBnd|NoNewPrivs)' "/proc/$server/status"
    ask /readyz && echo
    opened=$(ask /api/site/dialogs -H "X-Site-Token: $token" -H 'Content-Type: application/json' -d '{}')
    dialog=/api/site/dialogs/$(echo "$opened" | grep -o '"id":[0-9]*' | head -n 1 | field id)/messages
    guest=$(echo "$opened" | field guest_id)
    ask "$dialog" -H "X-Site-Token: $token" -H "X-Guest-Id: $guest" -H 'Content-Type: application/json' \
        -d '{"text":"Is anybody there?"}' >/dev/null
    ask "$dialog" -H "X-Site-Token: $token" -H "X-Guest-Id: $guest" | grep -o 'Is anybody there?'
    ask /openapi.yaml | sed -n 1p
    ask /demo/ | grep -o '<title>.*</title>'
    say "SIGTERM"
    begun=$SECONDS
    kill -TERM "$server"
    timeout 12 tail --pid="$init" -f /dev/null || die "the server did not end within 12 s."
    wait "$init" || status=$?
    echo "ended with status $status after $((SECONDS - begun)) s"
    ((status == 0)) || die "the server did not end as it should."
    say "sizes, in MB: the program; the whole image"
    du -m --apparent-size "$root/usr/local/bin/replyx" | cut -f 1
    du -smx "$root" | cut -f 1
}

# ---- Outside of the mounts: what is removed here can be nothing of the machine's.

clean_up() {
    if [[ -n ${inside:-} ]]; then kill -KILL "$inside" && wait "$inside"; fi 2>/dev/null || true
    [[ -z ${redis_pid:-} ]] || kill "$redis_pid" 2>/dev/null || true
    [[ ! -e $dir/postgres ]] || ./dev postgres remove "$dir/postgres" || true
    if [[ -n ${KEEP:-} ]]; then rm -rf --one-file-system -- "$dir/upper" "$dir/work" "$dir/context"
    else rm -rf --one-file-system -- "$dir"; fi
}

start_redis() {
    local port
    port=$(free_port)
    mkdir -p "$dir/redis"
    redis-server deploy/redis.conf --bind 127.0.0.1 --port "$port" --dir "$dir/redis" >"$dir/redis/log" &
    redis_pid=$!
    export REDIS_URL=redis://127.0.0.1:$port/0
}

if [[ ${1:-} == --inside ]]; then
    make_context
    replay
    run_as_container
    exit
fi
((EUID == 0)) || die "must be root, for mounts and chroot."
for program in debootstrap unshare setpriv objdump openssl curl; do
    type -P "$program" >/dev/null || die "$program is missing."
done
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$layers" "$caches"
if [[ -z ${DATABASE_URL:-} ]]; then
    DATABASE_URL=$(./dev postgres start "$dir/postgres")
    export DATABASE_URL=${DATABASE_URL%/*}/replyx
fi
[[ -n ${REDIS_URL:-} ]] || start_redis
# In namespaces of its own for mounts and processes: however this ends, both are gone with it. In the background,
# because bash answers signals at once only while it waits for such a process.
unshare --mount --pid --fork --kill-child --mount-proc bash "$self" --inside </dev/null &
inside=$!
wait "$inside"
