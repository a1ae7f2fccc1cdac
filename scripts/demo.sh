# shellcheck shell=bash
# The demo account: what `up` writes about it, and prints.

# What the last `up` wrote, of one variable.
demo_value() (
    [[ -f .local/demo.env ]] || return 0
    # shellcheck source=/dev/null
    . .local/demo.env
    printf %s "${!1:-}"
)

# A value of an env file: bare where every reader agrees on it, else in single quotes.
quoted() { if [[ $1 =~ ^[A-Za-z0-9_.:/@%+=,~-]*$ ]]; then printf %s "$1"; else printf "'%s'" "${1//\'/\'\\\'\'}"; fi; }

# Makes or finds the demo account and writes .local/demo.env. The operator keeps the password of the last time.
make_demo() {
    local facts metrics=("${node_managements[@]/%//metrics}") line IFS=,
    REPLYX_OPERATOR_PASSWORD=${REPLYX_OPERATOR_PASSWORD:-$(demo_value REPLYX_OPERATOR_PASSWORD)}
    if [[ -n $REPLYX_OPERATOR_PASSWORD ]]; then export REPLYX_OPERATOR_PASSWORD; else unset REPLYX_OPERATOR_PASSWORD; fi
    facts=$("$server" demo 2>.local/demo.log) || { cat .local/demo.log >&2; die "replyx demo failed."; }
    # Empty ones are written too, so that they replace what an earlier file left in somebody's shell.
    for line in "REPLYX_URL=$url" "REPLYX_HTTPS_URL=$https_url" "REPLYX_NODES=${node_urls[*]}" \
        "REPLYX_METRICS_URL=${metrics[0]}" "REPLYX_METRICS_URLS=${metrics[*]}" \
        "DATABASE_URL=$DATABASE_URL" "REDIS_URL=$REDIS_URL"; do facts+=$'\n'$line; done
    while IFS= read -r line; do
        [[ ! $line =~ ^[A-Z_]+= ]] || printf '%s=%s\n' "${line%%=*}" "$(quoted "${line#*=}")"
    done <<<"$facts" | write_private .local/demo.env
}

# A conversation that works when pasted into any shell, with curl, grep and sed only. Its streams end by themselves.
conversation() {
    printf ". '%s/.local/demo.env'\n" "${root//\'/\'\\\'\'}"
    cat <<'END'
export no_proxy=127.0.0.1
opened=$(curl -sS "$REPLYX_URL/api/site/dialogs?site_token=$REPLYX_SITE_TOKEN" -H 'Content-Type: application/json' -d '{}')
dialog=$(echo "$opened" | grep -o '"id":[0-9]*' | head -n 1 | sed 's/.*://')
guest=$(echo "$opened" | sed 's/.*"guest_id":"\([^"]*\)".*/\1/')
visitor="site_token=$REPLYX_SITE_TOKEN&guest_id=$guest"
login=$(curl -sS "$REPLYX_URL/api/login" --data-urlencode "username=$REPLYX_OPERATOR_EMAIL" --data-urlencode "password=$REPLYX_OPERATOR_PASSWORD")
operator="Authorization: Bearer $(echo "$login" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')"
(curl -sN -m 10 "$REPLYX_URL/api/admin/events" -H "$operator" | grep --line-buffered message:new | sed -u 's/^data:/operator sees:/' &)
(curl -sN -m 10 "$REPLYX_URL/api/site/dialogs/$dialog/events?$visitor" | grep --line-buffered message:new | sed -u 's/^data:/visitor sees: /' &)
sleep 1
curl -sS -o /dev/null -w 'visitor writes:  %{http_code}\n' "$REPLYX_URL/api/site/dialogs/$dialog/messages?$visitor" -H 'Content-Type: application/json' -d '{"text":"Hello, is anybody there?"}'
sleep 1
curl -sS -o /dev/null -w 'operator writes: %{http_code}\n' "$REPLYX_URL/api/dialogs/$dialog/messages" -H "$operator" -H 'Content-Type: application/json' -d '{"text":"Yes, how can I help?"}'
sleep 1
END
}

welcome() {
    local i
    conversation >.local/conversation.sh
    cat <<END

The API is on $url

END
    if [[ -n $https_url ]]; then
        say_fact https "$https_url (HTTP/2; curl --cacert .local/nginx/tls/fullchain.pem)"
    fi
    if ((${#node_urls[@]} > 1)) || [[ -n $https_url ]]; then
        for i in "${!node_urls[@]}"; do say_fact "node $((i + 1))" "${node_urls[i]}  log $(node_log "$i")"; done
    else
        say_fact log .local/replyx.log
    fi
    say_fact 'demo page' "$url/demo/#site_token=$(demo_value REPLYX_SITE_TOKEN)"
    say_fact operator "$(demo_value REPLYX_OPERATOR_EMAIL)"
    say_fact password "$(demo_value REPLYX_OPERATOR_PASSWORD)"
    say_fact metrics "$(demo_value REPLYX_METRICS_URL)"
    say_fact 'these facts' .local/demo.env
    cat <<END

A conversation with curl, to paste (or: sh .local/conversation.sh). The prompt is back after three
seconds; the two streams end by themselves a little later:

$(cat .local/conversation.sh)

./dev down stops it.
END
}

say_fact() { printf '  %-11s %s\n' "$@"; }
