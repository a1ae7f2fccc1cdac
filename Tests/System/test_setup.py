"""From an empty database to the first login: migrations, the first account, and what must not be said aloud."""

import json
import os
import re
import subprocess
import uuid
from urllib.parse import urlsplit

import pytest

from conftest import ROOT
from harness.people import assert_problem
from harness.server import SECRET


def run(binary, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("REPLYX_", "DATABASE_", "PG"))}
    return subprocess.run([binary, *arguments], cwd=ROOT, env={**bare, **environment}, capture_output=True, text=True, timeout=60)


def test_migrations_run_once_and_again_without_harm(binary, cluster):
    database = cluster.empty_database()
    for _ in range(2):
        outcome = run(binary, "migrate", DATABASE_URL=database.url)
        assert outcome.returncode == 0, outcome.stderr
    assert database.number("SELECT count(*) FROM events") == 0


def test_two_migrations_at_once_do_not_meet(binary, cluster):
    database = cluster.empty_database()
    bare = {**os.environ, "DATABASE_URL": database.url}
    both = [subprocess.Popen([binary, "migrate"], cwd=ROOT, env=bare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(2)]
    assert [each.wait(timeout=60) for each in both] == [0, 0]


def migrations_copied(tmp_path) -> list:
    directory = tmp_path / "Migrations"
    directory.mkdir()
    for file in sorted((ROOT / "Migrations").glob("*.sql")):
        (directory / file.name).write_bytes(file.read_bytes())
    return sorted(directory.iterdir())


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_changed_or_missing_old_migration_is_refused_with_a_clear_message(binary, cluster, tmp_path, change):
    database, files = cluster.empty_database(), migrations_copied(tmp_path)
    settings = {"DATABASE_URL": database.url, "REPLYX_MIGRATIONS_DIR": str(tmp_path / "Migrations")}
    assert run(binary, "migrate", **settings).returncode == 0
    if change == "changed":
        files[0].write_text(files[0].read_text() + "\n-- an afterthought\n")
    else:
        files[0].rename(tmp_path / "elsewhere.sql")
    outcome = run(binary, "migrate", **settings)
    assert outcome.returncode != 0
    assert re.search(r"0001", outcome.stderr + outcome.stdout), "it names the file"


def test_a_migration_that_fails_leaves_nothing_behind(binary, cluster, tmp_path):
    database, _ = cluster.empty_database(), migrations_copied(tmp_path)
    next_number = f"{len(list((tmp_path / 'Migrations').glob('*.sql'))) + 1:04}"
    (tmp_path / "Migrations" / f"{next_number}_broken.sql").write_text("CREATE TABLE half_way (id int);\nSELECT 1 / 0;\n")
    outcome = run(binary, "migrate", DATABASE_URL=database.url, REPLYX_MIGRATIONS_DIR=str(tmp_path / "Migrations"))
    assert outcome.returncode != 0 and next_number in outcome.stderr + outcome.stdout
    assert database.value("SELECT to_regclass('half_way') IS NULL") == "t"
    assert database.value("SELECT to_regclass('events') IS NOT NULL") == "t", "those before it stand"


def refuses_to_serve(binary, **settings: str) -> str:
    outcome = run(binary, "serve", **{"REPLYX_SECRETS": SECRET, "PORT": "0", "REPLYX_MANAGEMENT_PORT": "0", **settings})
    assert outcome.returncode != 0
    return outcome.stdout + outcome.stderr


def test_serve_refuses_a_database_with_unapplied_migrations(binary, cluster):
    said = refuses_to_serve(binary, DATABASE_URL=cluster.empty_database().url)
    assert "migrat" in said.lower()


@pytest.mark.parametrize("secrets", ["", "too short", "a" * 40 + ",short"])
def test_serve_refuses_weak_secrets_and_does_not_print_them(binary, cluster, secrets):
    said = refuses_to_serve(binary, DATABASE_URL=cluster.database(binary, ROOT).url, REPLYX_SECRETS=secrets)
    assert "REPLYX_SECRETS" in said
    assert not secrets or secrets not in said


def test_a_database_that_is_not_there_is_named_without_its_password(binary):
    said = refuses_to_serve(binary, DATABASE_URL="postgresql://somebody:hunter2hunter2@127.0.0.1:1/nowhere")
    assert "hunter2" not in said


def test_the_first_account_needs_the_setup_code_and_no_second_one_follows(make_server):
    server = make_server(REPLYX_SETUP_CODE="a-setup-code-of-the-tests")
    owner = {"email": "first@example.test", "password": "correct horse battery", "first_name": "Olga", "account_name": "First"}
    for code in ({}, {"setup_code": ""}, {"setup_code": "wrong"}):
        assert_problem(server.http.post("/api/register", json={**owner, **code}), 403, "setup_code_wrong")
    assert server.database.number("SELECT count(*) FROM accounts") == 0
    made = server.http.post("/api/register", json={**owner, "setup_code": "a-setup-code-of-the-tests"})
    assert made.status_code == 201, made.text
    second = server.http.post("/api/register", json={**owner, "email": "second@example.test", "setup_code": "a-setup-code-of-the-tests"})
    assert_problem(second, (403, 409))
    assert server.database.number("SELECT count(*) FROM accounts") == 1

    for form in ({"data": {"username": "first@example.test", "password": "correct horse battery"}},
                 {"json": {"username": "First@Example.test", "password": "correct horse battery"}}):
        answer = server.http.post("/api/login", **form)
        assert answer.status_code == 200, answer.text
        assert answer.json()["expires_in"] > 0
        me = server.http.get("/api/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
        assert me.status_code == 200 and "first@example.test" in me.text
        assert "password" not in me.text


def test_an_address_belongs_to_one_operator(server, shop):
    again = server.command("account", "create", "--email", shop.operator.email.upper())
    assert again.returncode != 0
    assert server.database.number(f"SELECT count(*) FROM operators WHERE lower(email) = '{shop.operator.email}'") == 1


def test_account_create_makes_a_password_when_none_is_given(server):
    made = server.command("account", "create", "--email", f"{uuid.uuid4().hex}@example.test")
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout.strip().splitlines()[-1])
    assert len(facts["password"]) >= 12
    assert server.http.post("/api/login", data={"username": facts["email"], "password": facts["password"]}).status_code == 200


def test_the_demo_can_be_made_twice_and_its_facts_work(server):
    def demo() -> dict[str, str]:
        outcome = server.command("demo", REPLYX_OPERATOR_PASSWORD="a demo password of the tests")
        assert outcome.returncode == 0, outcome.stderr
        return dict(re.findall(r"^(REPLYX_\w+)=(.*)$", outcome.stdout, re.MULTILINE))

    first, second = demo(), demo()
    assert first["REPLYX_ASSISTANT_ID"] == second["REPLYX_ASSISTANT_ID"]
    opened = server.http.post("/api/site/dialogs", params={"site_token": second["REPLYX_SITE_TOKEN"]}, json={})
    assert opened.status_code == 200, opened.text
    login = {"username": second["REPLYX_OPERATOR_EMAIL"], "password": "a demo password of the tests"}
    assert server.http.post("/api/login", data=login).status_code == 200


def test_the_log_and_the_database_keep_no_secret(make_server):
    server = make_server(REPLYX_LOG_LEVEL="trace")
    shop = server.shop()
    visitor = shop.visitor()
    visitor.say("a very private remark")
    with visitor.follow() as stream:
        stream.opening()
    server.http.get("/api/me", headers={"Authorization": "Bearer a-forged-credential-0123456789"})
    visitor.post({"text": "another private remark\0"})
    log = server.log()
    secrets = {
        "database's password": urlsplit(server.database.url).password or SECRET, "signing secret": SECRET,
        "password": shop.operator.password, "access token": shop.operator.token, "site token": shop.site_token,
        "guest id": visitor.guest_id, "stream token": visitor.opened["stream_token"],
        "text": "private remark", "forged credential": "a-forged-credential",
    }
    for name, hidden in secrets.items():
        assert hidden not in log, f"{name} in the log"
    dumped = subprocess.run(["pg_dump", "--data-only", server.database.url], capture_output=True, text=True, timeout=60)
    assert dumped.returncode == 0, dumped.stderr
    for hidden in (shop.operator.password, shop.operator.token, visitor.guest_id):
        assert hidden not in dumped.stdout


def test_a_taken_port_is_named(binary, server):
    settings = {name: value for name, value in server.environment.items() if name.startswith(("REPLYX_", "DATABASE_")) or name == "PORT"}
    outcome = run(binary, "serve", **settings)
    assert outcome.returncode != 0 and str(server.port) in outcome.stdout + outcome.stderr
    assert server.http.get("/livez").status_code == 204
