# shellcheck shell=bash
# The suites of tests, and the check.

all_suites=(domain realtime persistence app system faults browsers)
total_passed=0 total_failed=0 total_skipped=0 suite_process=

# Prints how many tests of a JUnit report passed, failed and were skipped. A suite that died leaves half a file or none.
count_results() {
    python3 - "$1" <<'END'
import sys, xml.etree.ElementTree as xml
try:
    cases = list(xml.parse(sys.argv[1]).iter("testcase"))
except (OSError, xml.ParseError):
    cases = []
failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
skipped = sum(1 for case in cases if case.find("skipped") is not None)
print(len(cases) - failed - skipped, failed, skipped)
END
}

# Runs one suite: NAME SECONDS REPORT COMMAND… Its output goes to a log and is shown if something failed. A crash, a
# time-out and a run without any test count as a failure. SIGINT, because swift and pytest end their children on it.
run_suite() {
    local name=$1 limit=$2 report=$3 log=.local/test-logs/$1.log begun=$SECONDS status=0 passed failed skipped
    shift 3
    rm -f -- "$report"
    # In the background, because bash answers signals at once only while it waits for such a process.
    timeout --signal=INT --kill-after=20 "$limit" env --default-signal=INT "$@" >"$log" 2>&1 </dev/null 9>&- &
    suite_process=$!
    wait "$suite_process" || status=$?
    suite_process=
    read -r passed failed skipped < <(count_results "$report")
    # pytest lists the test that was interrupted among those that passed.
    if ((status == 124 || status == 137)); then ((failed += 1, passed -= passed > 0)) || true; fi
    if ((failed == 0 && (status != 0 || passed + skipped == 0))); then failed=1; fi
    if ((failed > 0)); then
        cat "$log"
        case $status in
        0 | 1) ;;
        124 | 137) echo "$name was stopped after $limit s" ;;
        *) echo "$name ended with status $status" ;;
        esac
    fi
    printf '%-12s%5d passed%5d failed%5d skipped%5d s\n' "$name" "$passed" "$failed" "$skipped" $((SECONDS - begun))
    ((total_passed += passed, total_failed += failed, total_skipped += skipped)) || true
}

# Runs a suite of Swift tests, if it exists: NAME SECONDS.
run_swift_suite() {
    local report=$root/.local/test-logs/$1.xml
    # A pipe would keep back what a suite said before it hung, hence stdbuf.
    run_suite "$1" "$2" "$report" stdbuf -oL swift test --skip-build --disable-xctest \
        --filter "^${1^}Tests\\." --xunit-output "$report"
}

# Runs a suite of tests in Python: NAME SECONDS DIRECTORY, then what pytest is told to choose.
run_python_suite() {
    local name=$1 limit=$2 tests=$3 report=$root/.local/test-logs/$1.xml
    shift 3
    REPLYX_BIN=$root/.build/debug/replyx REPLYX_DEV=$root/dev run_suite "$name" "$limit" "$report" \
        .local/venv/bin/python -m pytest "$tests" -q "$@" -o cache_dir="$root/.local/pytest-cache" \
        --junitxml="$report"
}

suite_exists() {
    case $1 in
    system) compgen -G 'Tests/System/test_*.py' ;;
    faults) grep -l 'mark\.faults' Tests/System/test_*.py ;;
    browsers) compgen -G 'Tests/Browser/test_*.py' ;;
    *) find "Tests/${1^}Tests" -name '*.swift' -print 2>/dev/null | grep -m 1 . ;;
    esac >/dev/null
}

end_of_tests() {
    if [[ -n $suite_process ]]; then kill -INT "$suite_process" && wait "$suite_process"; fi 2>/dev/null || true
    postgres_remove "$root/.local/test-postgres"
}

closing_line() {
    echo "$total_passed passed, $total_failed failed$( ((total_skipped == 0)) || echo ", $total_skipped skipped")"
    ((total_failed == 0 && total_passed > 0))
}

verb_test() {
    local factor=1 suites=() suite begun=$SECONDS deadline long=
    for suite in "$@"; do
        case $suite in
        --long) factor=6 long=1 ;;
        domain | realtime | persistence | app | system | faults | browsers)
            suite_exists "$suite" || die "there is no suite $suite yet."
            suites+=("$suite") ;;
        *) die "no such suite: $suite (there are ${all_suites[*]})" ;;
        esac
    done
    if ((${#suites[@]} == 0)); then
        for suite in "${all_suites[@]}"; do ! suite_exists "$suite" || suites+=("$suite"); done
    fi
    need_swift
    need_packages "${system_packages[@]}"
    python3 -c 'import ensurepip' 2>/dev/null || need_packages python3 python3-venv
    lock test
    # What is set for a server of one's own must not reach the tests.
    unset DATABASE_URL REDIS_URL PORT "${!REPLYX_@}"
    [[ -z $long ]] || export REPLYX_TEST_LONG=1
    rm -rf .local/test-logs
    mkdir .local/test-logs
    [[ ! " ${suites[*]} " =~ ' system '|' faults '|' browsers ' ]] || need_python_packages
    [[ " ${suites[*]} " != *' system '* ]] || need_nginx
    [[ " ${suites[*]} " != *' browsers '* ]] || need_packages "${browser_packages[@]}"

    say "Building for the tests. The first time this takes some minutes."
    if ! quietly test-logs/build "${swift_build[@]}" --build-tests; then total_failed=1; closing_line; return 1; fi
    echo "build $((SECONDS - begun)) s"

    trap end_of_tests EXIT
    trap 'exit 130' INT TERM HUP
    postgres_remove "$root/.local/test-postgres"
    REPLYX_TEST_DATABASE_URL=$(postgres_start "$root/.local/test-postgres")
    export REPLYX_TEST_DATABASE_URL
    deadline=$((SECONDS + 300 * factor))
    for suite in "${suites[@]}"; do
        case $suite in
        system) run_python_suite system $((480 * factor)) Tests/System -m 'not faults' -n 2 --dist loadfile ;;
        faults) run_python_suite faults $((360 * factor)) Tests/System -m faults ;;
        browsers) run_python_suite browsers $((720 * factor)) Tests/Browser ;;
        *) run_swift_suite "$suite" $((deadline > SECONDS ? deadline - SECONDS : 1)) ;;
        esac
    done
    closing_line
}

verb_check() {
    need_swift
    swift format lint --strict --recursive Package.swift Sources Tests
    verb_test "$@"
}
