# shellcheck shell=bash
# What every part uses: talking, locks, ports, processes, files.

say() { printf '%s\n' "$*" >&2; }
die() { say "dev: $*"; exit 1; }

# Writes standard input to a file that nobody else can read.
write_private() { (umask 077; cat >"$1.new"); mv -f -- "$1.new" "$1"; }

# One at a time in a checkout. File descriptor 9 holds the lock; what outlives this script is started with 9>&-.
# .local keeps everything that a run leaves behind. PostgreSQL's own user passes through it: hence 755.
lock() {
    [[ -d .local ]] || install -d -m 755 .local
    exec 9>".local/$1.lock"
    flock -n 9 || die "another ./dev $1 is at work in $root."
}

# Whether process $1 was started with $2 among its arguments: a pid in a file may be another program's by now.
runs() { [[ -n $1 ]] && grep -qszxF -- "$2" "/proc/$1/cmdline"; }

# Whether anything listens on TCP port $1, on any address (read from the kernel: a connect could hang).
port_taken() {
    grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6
}
free_port() { local port=$1; while port_taken "$port"; do port=$((port + 1)); done; echo "$port"; }

# Runs a command; its output is shown only if it fails, and is kept in .local/$1.log.
quietly() {
    local log=.local/$1.log; shift
    "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }
}

# ---- Daemons known by the directory they work in
# Their number is never written down: it could be another program's by the time it is read.

# The processes of program $2 that work in directory $1.
daemons_in() {
    local process name
    for process in /proc/[0-9]*; do
        [[ $process/cwd -ef $1 ]] && read -r name <"$process/comm" && [[ $name == "$2" ]] && echo "${process#/proc/}"
    done 2>/dev/null || true
}

# Starts DIR PROGRAM ARGUMENT… in DIR, with DIR/log for what it says.
daemon_start() (
    cd -- "$1" || exit
    shift
    setsid "$@" </dev/null >>log 2>&1 9>&- &
)

# Stops program $2 in directory $1, at once if $3 is `immediate`. One that is still there after 5 s is killed.
daemon_stop() {
    local found _
    [[ ${3:-fast} == immediate ]] || for _ in {1..50}; do
        mapfile -t found < <(daemons_in "$1" "$2")
        ((${#found[@]})) || return 0
        # Again each time: a program that was only just starting may not have been listening.
        kill -TERM "${found[@]}" 2>/dev/null || true
        sleep 0.1
    done
    for _ in {1..50}; do
        mapfile -t found < <(daemons_in "$1" "$2")
        ((${#found[@]})) || return 0
        kill -KILL "${found[@]}" 2>/dev/null || true
        sleep 0.1
    done
}
