"""What the server says about itself: its routes, its health, its metrics, its request ids."""

import re
import subprocess

import httpx
import pytest
import yaml

from harness.people import assert_problem

METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}
#: Not part of the contract: pages and files, and what the management address answers.
NOT_DESCRIBED = re.compile(r"^/(demo|metrics|docs|admin)(/|$)|\*|^/$")


def shape(path: str) -> str:
    """A path whose parameters' names do not count."""
    return re.sub(r"\{[^}]*\}|:\w+", "{}", path)


@pytest.fixture(scope="module")
def contract(server) -> dict:
    return yaml.safe_load((server.root / "docs" / "openapi.yaml").read_text())


def test_the_described_routes_and_the_routers_own_list_are_the_same(binary, server, contract):
    # Without the server's environment: the list needs no database.
    listed = subprocess.run([binary, "routes"], cwd=server.root, capture_output=True, text=True, timeout=30)
    assert listed.returncode == 0, listed.stderr
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines() if line.strip()]
    served = {(method.upper(), shape(path)) for method, path in lines if not NOT_DESCRIBED.search(path)}
    described = {(method.upper(), shape(path)) for path, operations in contract["paths"].items()
                 for method in operations if method in METHODS and not NOT_DESCRIBED.search(path)}
    assert not served - described, "served, but not described"
    assert not described - served, "described, but not served"
    assert len(served) >= 20


def test_the_contract_is_an_openapi_document_whose_operations_name_their_answers(contract):
    assert str(contract["openapi"]).startswith("3.")
    for path, operations in contract["paths"].items():
        for method in METHODS & set(operations):
            assert operations[method].get("responses"), f"{method} {path} names no answer"


def test_the_contract_is_served_as_it_is_in_the_repository(server, contract):
    response = server.http.get("/openapi.yaml")
    assert response.status_code == 200
    assert yaml.safe_load(response.text) == contract


def test_health_is_told_to_anybody_without_details(server):
    assert server.http.get("/livez").status_code == 204
    ready = server.http.get("/readyz")
    assert ready.status_code == 200 and {"status", "checks"} <= set(ready.json())
    assert "postgres" in ready.json()["checks"]
    assert server.http.get("/health").status_code == 200
    streams = server.http.get("/api/sse/health")
    assert streams.status_code == 200
    assert {"service", "status", "active_connections", "timestamp"} <= set(streams.json())
    assert isinstance(streams.json()["active_connections"], int)
    for answer in (ready, streams):
        assert "postgres://" not in answer.text and "postgresql://" not in answer.text


def test_the_management_address_has_health_too_but_no_api(server):
    for path, status in (("/livez", 204), ("/readyz", 200)):
        assert httpx.get(server.management_url + path, trust_env=False).status_code == status
    for path in ("/api/me", "/api/dialogs", "/demo/"):
        assert httpx.get(server.management_url + path, trust_env=False).status_code == 404, path


def test_metrics_are_not_for_the_public(server):
    assert_problem(server.http.get("/metrics"), 404, "not_found")


def test_metrics_are_prometheus_text_about_connections_closes_resumes_gaps_batches_and_the_pool(server, shop):
    visitor = shop.visitor()
    with visitor.follow() as stream:
        stream.opening()
        visitor.say("to be counted")
        stream.wait_for_texts(["to be counted"])
    with visitor.follow(last_event_id=visitor.opened["cursor"]) as stream:
        stream.opening()
    response = httpx.get(f"{server.management_url}/metrics", trust_env=False)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain")
    names = {re.split(r"[{]", name)[0] for name in server.metrics()}
    assert names and all(name.startswith("replyx_") for name in names), {name for name in names if not name.startswith("replyx_")}
    for topic in ("connection", "clos", "resume", "gap", "batch", "pool"):
        assert any(topic in name for name in names), f"nothing about {topic}: {sorted(names)}"
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", response.text, re.MULTILINE))
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in typed or typed.get(base) in ("histogram", "summary"), f"{name} has no TYPE"
    samples = server.metrics()
    assert any("clos" in name and "reason=" in name for name in samples)
    assert any("resume" in name and "source=" in name and value >= 1 for name, value in samples.items())


def test_metrics_name_no_visitor_and_no_secret(server, shop):
    visitor = shop.visitor()
    visitor.say("hush")
    text = httpx.get(f"{server.management_url}/metrics", trust_env=False).text
    for hidden in (visitor.guest_id, shop.site_token, shop.operator.token, shop.operator.email, "hush"):
        assert hidden not in text


@pytest.mark.parametrize("sane", ["abc-123_x.Y", "0", "6d8d70fabb2b471c961b8269b69d40da", "c67e0ccb-a7d6-4997-b4d0-b29d405df048"])
def test_a_sane_request_id_is_kept(server, sane):
    for path in ("/readyz", "/api/me", "/api/nothing"):
        assert server.http.get(path, headers={"X-Request-Id": sane}).headers["x-request-id"] == sane


@pytest.mark.parametrize("insane", ["", "x" * 5000, "two words", "<script>", 'quote"', "é".encode(), b"tab\there"], ids=repr)
def test_an_insane_request_id_is_replaced(server, insane):
    answer = server.http.get("/api/me", headers=[(b"x-request-id", insane if isinstance(insane, bytes) else insane.encode())])
    assert answer.status_code == 401
    given = answer.headers["x-request-id"]
    assert given and given.encode() != (insane if isinstance(insane, bytes) else insane.encode()) and re.fullmatch(r"[\w.:-]{1,200}", given)
    assert answer.json()["request_id"] == given


def test_every_answer_has_a_request_id_of_its_own(server, shop):
    visitor = shop.visitor()
    paths = ("/livez", "/readyz", "/api/nothing", "/demo/", "/openapi.yaml", "/livez")
    seen = [server.http.get(path).headers["x-request-id"] for path in paths]
    with visitor.follow() as stream:
        seen.append(stream.headers["x-request-id"])
    assert len(set(seen)) == len(seen)


def test_the_demo_page_is_there_and_speaks_native_event_source(server):
    page = server.http.get("/demo/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    sources = [page.text] + [server.http.get(httpx.URL(f"{server.url}/demo/").join(src)).text
                             for src in re.findall(r'<script[^>]+src="([^"]+)"', page.text) if "://" not in src]
    seen = set()
    for source in sources:  # which grows by what its modules import
        for module in set(re.findall(r'from "([^"]+)"', source)) - seen:
            seen.add(module)
            sources.append(server.http.get(httpx.URL(f"{server.url}/demo/").join(module)).text)
    assert any("EventSource" in source for source in sources)
