# shellcheck shell=bash
# What must be installed.

system_packages=(libpq-dev libssl-dev libhiredis-dev postgresql postgresql-contrib redis-server pkg-config curl openssl)
browser_packages=(chromium chromium-driver)

need_swift() { command -v swift >/dev/null || die "no swift in PATH: install a Swift 6 toolchain (swift.org) first."; }

# Installs those of the Debian packages that are missing. On a new machine the postgresql package makes a system
# cluster of its own, and redis-server and nginx start services; they are left alone and never used. Preventing it would
# mean to edit /etc/postgresql-common or to forbid services to start (policy-rc.d), which would also change what the
# machine's owner gets from other installations.
need_packages() {
    local package missing=() as_root=()
    command -v dpkg-query >/dev/null || { say "Not a Debian: make sure that these are there: $*"; return 0; }
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    local install=(apt-get install -y --no-install-recommends "${missing[@]}")
    if ((EUID != 0)); then
        as_root=(sudo -n)
        sudo -n true 2>/dev/null || die "Debian packages are missing. As root: ${install[*]}"
    fi
    say "Installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq >&2 || say "apt-get update failed; trying with the lists as they are."
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -q -o DPkg::Lock::Timeout=120 >&2 ||
        die "apt-get could not install: ${missing[*]}"
}

# The Python packages of the tests, made again when their lists change.
need_python_packages() {
    local wanted
    wanted=$(cat Tests/System/requirements.txt Tests/Browser/requirements.txt | sha256sum)
    if [[ $(cat .local/venv/requirements.sha256 2>/dev/null) == "$wanted" ]] &&
        .local/venv/bin/python -c 'import pytest' 2>/dev/null; then return 0; fi
    say "Setting up Python in .local/venv"
    rm -rf .local/venv
    python3 -m venv .local/venv
    .local/venv/bin/python -m pip install -q --disable-pip-version-check \
        -r Tests/System/requirements.txt -r Tests/Browser/requirements.txt >&2
    echo "$wanted" >.local/venv/requirements.sha256
}
