"""The server's own secrets: which it takes, how they rotate, and what is kept encrypted under them."""

import pathlib

import pytest

from harness import logscan
from harness.people import assert_problem
from harness.server import SECRET

ANOTHER = "another-signing-key-of-these-tests-9876543210"


@pytest.mark.parametrize("secrets", [
    "", "short", "0123456789012345678901234567890", f"{SECRET},short", "a" * 64, "ab" * 32,
    "change-me-change-me-change-me-0123456789", "this-is-an-example-secret-0123456789abcdef",
    f"{SECRET},your-secret-here-0123456789abcdefghijk",
])
def test_serve_refuses_secrets_that_are_missing_short_or_an_example(server, secrets):
    ended = server.command("serve", REPLYX_SECRETS=secrets)
    assert ended.returncode != 0
    assert "REPLYX_SECRETS" in ended.stderr
    assert len(secrets) < 8 or secrets not in ended.stderr


def test_nobody_is_logged_out_when_a_secret_is_put_in_front_and_everybody_when_theirs_is_dropped(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    secret = shop.operator.post(f"/api/assistants/{shop.assistant_id}/identity-secret", {}).json()["identity_secret"]
    assert len(secret) > 32
    for secrets, status in ((f"{ANOTHER},{SECRET}", 200), (ANOTHER, 401)):
        server.environment["REPLYX_SECRETS"] = secrets
        server.restart()
        assert shop.operator.get("/api/me").status_code == status
        assert visitor.post({"text": "still here?"}).status_code == status
    shop.operator.log_in()
    embed = shop.operator.get(f"/api/assistants/{shop.assistant_id}/embed-code").json()
    shop.site_token = embed["token"]
    assert visitor.post({"text": "with a token of the new key"}).status_code == 200


def test_what_is_kept_encrypted_moves_to_the_new_secret_before_the_old_one_goes(make_server):
    server = make_server()
    shop = server.shop()
    token = "7700112233:AA-platform-token-of-a-bot-of-these-tests"
    bot = shop.operator.post("/api/bot-instances", {
        "assistant_id": shop.assistant_id, "name": "Bot", "platform": "telegram", "platform_token": token})
    assert bot.status_code == 201, bot.text
    key = shop.operator.post("/api/api-keys", {"name": "Bridge", "bot_ids": [bot.json()["id"]]}).json()["key"]
    bridge = {"Authorization": f"Bearer {key}"}

    def shown() -> object:
        answer = server.http.get("/api/bot/bots", headers=bridge)
        return answer.json()["items"][0]["platform_token"] if answer.status_code == 200 else answer.status_code

    assert shown() == token
    kept = server.database.rows("SELECT encode(platform_token, 'escape') FROM bot_instances")[0][0]
    assert token not in kept and "platform-token" not in kept
    both = f"{ANOTHER},{SECRET}"
    done = server.command("reseal", REPLYX_SECRETS=both)
    assert done.returncode == 0 and done.stdout.strip() == "Encrypted anew: 1", done.stdout + done.stderr
    assert server.command("reseal", REPLYX_SECRETS=both).stdout.strip() == "Encrypted anew: 0"
    # One who has dropped the secret that it is under is told, and nothing is spoilt.
    refused = server.command("reseal", REPLYX_SECRETS="a-third-signing-key-of-these-tests-0246813579")
    assert refused.returncode != 0 and "Nothing was changed" in refused.stderr
    server.environment["REPLYX_SECRETS"] = ANOTHER
    server.restart()
    assert shown() == token


def test_the_secrets_are_in_no_answer_and_in_no_listing_of_the_process(server, shop):
    command_line = pathlib.Path(f"/proc/{server.process.pid}/cmdline").read_bytes().decode()
    assert SECRET not in command_line
    for path in ("/readyz", "/health", "/api/sse/health", "/openapi.yaml", "/api/me"):
        assert SECRET not in shop.operator.get(path).text
    assert_problem(server.http.get("/api/me"), 401)


def test_the_search_of_the_logs_finds_what_it_looks_for(tmp_path):
    """Or its silence would say nothing."""
    secret, words = "rxs_a-secret_that.was~noted0", "what a visitor said in confidence"
    (tmp_path / "server-1.log").write_text(
        f"fine\nGET /x?guest_id={secret}&y=1\ninfo: text={words}!\nGET /x?t=rxs_a-secret_that.was%7Enoted0\n")
    before = set(logscan._noted)
    try:
        logscan.note(secret, words)
        found = logscan.found_in(tmp_path)
        assert [line.split(":")[1] for line in found] == ["2", "3", "4"]
        assert secret not in "".join(found)
    finally:
        logscan._noted.clear()
        logscan._noted.update(before)


def test_what_a_dropped_secret_had_sealed_is_missed_alone(make_server):
    server = make_server()
    shop = server.shop()
    bots = []
    for number, secrets in enumerate((SECRET, f"{ANOTHER},{SECRET}")):
        server.environment["REPLYX_SECRETS"] = secrets
        server.restart()
        made = shop.operator.post("/api/bot-instances", {
            "assistant_id": shop.assistant_id, "name": "Bot", "platform": "telegram",
            "platform_token": f"880011223{number}:AA-platform-token-of-a-bot"})
        bots.append(made.json()["id"])
    shop.operator.post(f"/api/assistants/{shop.assistant_id}/identity-secret", {})
    key = shop.operator.post("/api/api-keys", {"name": "Bridge", "bot_ids": bots}).json()["key"]
    server.environment["REPLYX_SECRETS"] = ANOTHER
    server.restart()
    left = server.http.get("/api/bot/bots", headers={"Authorization": f"Bearer {key}"})
    assert left.status_code == 200 and [bot["id"] for bot in left.json()["items"]] == bots[1:]
