# shellcheck shell=bash
# Building the server.

# SwiftPM writes some options of a package with traits in the order of a set. With an order that stays, nothing is
# compiled again for a change that is none. Only for the build: a server's hashing must not be predictable.
swift_build=(env SWIFT_DETERMINISTIC_HASHING=1 swift build)

build_release() {
    local build=("${swift_build[@]}" -c release --product replyx)
    if [[ ! -x $server ]]; then
        say "Building a release. The first time this takes about 6 minutes."
        "${build[@]}" >&2
    elif [[ -n $(find Package.swift Sources -newer "$server" -print -quit) ]]; then
        say "Building a release."
        "${build[@]}" >&2
    else
        quietly build "${build[@]}"
    fi || die "the build failed."
}
