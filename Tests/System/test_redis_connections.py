"""REDIS_URL in all its forms, and what a server does that cannot get in: it serves, says so, and never says the password."""

import os
import subprocess
from urllib.parse import quote

import pytest

from conftest import ROOT
from harness.nodes import Nodes, at, check, counter, readiness, wait_for_check
from harness.redis import Bus, Certificates, Redis
from harness.server import SECRET, free_port
from harness.streams import assert_contiguous, texts
from harness.waiting import eventually

PASSWORD = "s3cret/p@ss:w%rd?"


@pytest.fixture(scope="module")
def certificates(directory) -> Certificates:
    return Certificates(directory)


@pytest.fixture(scope="module")
def guarded(directory, certificates):
    """With a password, by TCP, TLS and a socket; and with a user of its own."""
    with Redis(directory, password=PASSWORD, certificates=certificates) as redis:
        redis.client().acl_setuser("chat", enabled=True, passwords=[f"+{PASSWORD}"], commands=["+@all"], keys=["*"])
        yield redis


def assert_carried_by_the_bus(nodes: Nodes) -> None:
    """What is said to one node arrives at the other, and not because that looks into the database."""
    visitor = nodes.shop().visitor()
    with at(nodes[1], visitor).follow() as stream:
        start = stream.opening()
        looked = counter(nodes[1], "replyx_gaps_repaired_total")
        said = [f"message {number}" for number in range(30)]
        for text in said:
            visitor.say(text)
        assert texts(stream.wait_for_texts(said)) == said
        assert_contiguous(stream.events, after=start.id)
        assert counter(nodes[1], "replyx_gaps_repaired_total") - looked <= 5
        assert check(nodes[1], "redis") == check(nodes[1], "bus") == "ok"


def assert_nothing_told(nodes: Nodes, *secrets: str) -> None:
    for node in nodes:
        for secret in {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret))}:
            assert secret not in node.log(), "a password in the log"


@pytest.mark.parametrize("form", ["redis", "rediss", "unix"])
@pytest.mark.parametrize("user", ["", "chat"], ids=["password", "user and password"])
def test_every_form_of_the_url_leads_to_a_working_bus(make_nodes, guarded, certificates, form, user):
    number = guarded.unused_database()
    settings = {"REPLYX_REDIS_CA_FILE": certificates.authority} if form == "rediss" else {}
    nodes = make_nodes(2, REDIS_URL=guarded.url(number, scheme=form, user=user), REPLYX_LOG_LEVEL="trace", **settings)
    assert_carried_by_the_bus(nodes)
    # It is that database, and no other, that holds the bus.
    assert guarded.client(number).exists(Bus.key(1)) and not guarded.client(0).keys("replyx:*")
    assert_nothing_told(nodes, PASSWORD)


def test_without_a_database_number_it_is_the_first(directory, make_nodes):
    with Redis(directory) as redis:
        assert_carried_by_the_bus(make_nodes(2, REDIS_URL=redis.url()))
        assert redis.client(0).keys("replyx:*")


@pytest.mark.parametrize("fault", ["wrong password", "no password", "unknown user", "no such database", "nobody listens", "no such socket",
                                   "no TLS there", "an authority unknown to the system", "a certificate for another name"])
def test_a_server_that_cannot_get_in_serves_and_says_so(directory, make_nodes, guarded, certificates, fault):
    secret = "n0t-the-p@ssword" if "wrong" in fault else PASSWORD
    settings = {}
    url = {"wrong password": guarded.url(password=secret), "no password": f"redis://127.0.0.1:{guarded.port}/0",
           "unknown user": guarded.url(user="nobody"), "no such database": guarded.url(50_000),
           "nobody listens": f"redis://:{quote(secret, safe='')}@127.0.0.1:1/0",
           "no such socket": f"unix://:{quote(secret, safe='')}@{guarded.directory}/no.sock"}.get(fault)
    if fault == "no TLS there":
        url = f"rediss://:{quote(secret, safe='')}@127.0.0.1:{guarded.port}"
    elif fault == "an authority unknown to the system":
        url = guarded.url(scheme="rediss")
    elif fault == "a certificate for another name":
        other = Certificates(directory, "DNS:redis.example.test,IP:127.0.0.9")
        settings = {"REPLYX_REDIS_CA_FILE": other.authority}
        with Redis(directory, password=secret, certificates=other) as misnamed:
            assert_serves_without(make_nodes, misnamed.url(scheme="rediss"), secret, settings)
        return
    assert_serves_without(make_nodes, url, secret, settings)


def assert_serves_without(make_nodes, url: str, secret: str, settings: dict[str, str]) -> None:
    nodes = make_nodes(0, REDIS_URL=url, REPLYX_LOG_LEVEL="trace", **settings)
    node, other = nodes.add(), nodes.add()
    wait_for_check(node, "redis", "unreachable")
    wait_for_check(node, "bus", "degraded")
    assert readiness(node)[1]["status"] == "degraded"
    assert node.http.get("/api/sse/health").json()["redis_status"] == "disconnected"
    visitor = nodes.shop().visitor()
    with at(other, visitor).follow() as stream:
        start = stream.opening()
        visitor.say("without a bus")
        stream.wait_for_texts(["without a bus"])
        assert_contiguous(stream.events, after=start.id)
    assert_nothing_told(nodes, secret)


def test_a_redis_that_comes_later_is_found(directory, make_nodes):
    redis = Redis(directory)
    nodes = make_nodes(0, REDIS_URL=redis.url())
    node = nodes.add()
    wait_for_check(node, "redis", "unreachable")
    nodes.add()
    with redis:
        nodes.wait_for_bus()
        assert_carried_by_the_bus(nodes)


def test_in_a_redis_cluster_no_command_names_two_slots(directory, make_nodes):
    with Redis(directory, cluster=True) as redis:
        client = redis.client()
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: client.cluster("info")["cluster_state"] == "ok", "the cluster to be well")
        nodes = make_nodes(2, REDIS_URL=redis.url())
        assert_carried_by_the_bus(nodes)
        assert "errorstat_CROSSSLOT" not in client.info("errorstats")


SECRET_IN_URL = "hunter2horse"


@pytest.fixture(scope="module")
def database(binary, cluster):
    return cluster.database(binary, ROOT)


@pytest.mark.parametrize("url", [
    f"http://:{SECRET_IN_URL}@127.0.0.1:6379", f"{SECRET_IN_URL}", f"127.0.0.1:6379:{SECRET_IN_URL}", "redis://", f"redis://:{SECRET_IN_URL}@",
    f"redis://:{SECRET_IN_URL}@:6379", f"redis://:{SECRET_IN_URL}@127.0.0.1:port", f"redis://:{SECRET_IN_URL}@127.0.0.1:70000",
    f"redis://:{SECRET_IN_URL}@127.0.0.1:0", f"redis://:{SECRET_IN_URL}@127.0.0.1:-1", f"redis://:{SECRET_IN_URL}@127.0.0.1:6379/first",
    f"redis://:{SECRET_IN_URL}@127.0.0.1:6379/-1", f"redis://:{SECRET_IN_URL}@127.0.0.1:6379/0/1", f"redis://:{SECRET_IN_URL}%zz@127.0.0.1:6379",
    f"unix://:{SECRET_IN_URL}@", f"unix://:{SECRET_IN_URL}@/run/redis.sock?db=first", f" redis://:{SECRET_IN_URL}@127.0.0.1:6379 x",
], ids=lambda url: url.replace(SECRET_IN_URL, "…").replace("/", "|")[:40])
def test_a_malformed_url_is_refused_by_a_sentence_that_does_not_say_the_password(binary, database, url):
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("REPLYX_", "DATABASE_", "PG"))}
    settings = {"DATABASE_URL": database.url, "REPLYX_SECRETS": SECRET, "REDIS_URL": url,
                "PORT": str(free_port()), "REPLYX_MANAGEMENT_PORT": str(free_port())}
    outcome = subprocess.run([binary, "serve"], cwd=ROOT, env={**bare, **settings}, capture_output=True, text=True, timeout=20)
    said = outcome.stdout + outcome.stderr
    assert outcome.returncode > 0, "refused, not crashed"
    assert "REDIS_URL" in said
    assert SECRET_IN_URL not in said


def test_an_empty_url_means_no_bus(make_nodes):
    assert check(make_nodes(1, REDIS_URL="")[0], "redis") == "not_configured"
