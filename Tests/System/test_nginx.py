"""Two nodes behind nginx with deploy/nginx.conf: streams pass as they are, a dead node is passed over, nobody gives up."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import httpx
import pytest

from conftest import ROOT, given
from harness.clients import Node
from harness.nginx import Crowd, Nginx, Site
from harness.people import assert_problem, persistently
from harness.server import free_port
from harness.streams import Follower, assert_contiguous, position, texts
from harness.waiting import eventually

# With those that break things under load: half a thousand readers want the machine to themselves.
pytestmark = pytest.mark.faults

IDLE_SECONDS = 75
BACK_WITHIN = 5


@pytest.fixture(scope="module")
def quiet(binary, cluster, directory):
    """Nothing is broken here, and its heart beats as slowly as in production."""
    site = Site(binary, ROOT, cluster, given("REPLYX_DEV"), directory / "nginx-quiet", REPLYX_HEARTBEAT_SECONDS="15")
    try:
        yield site.start()
        assert all(node.is_running() for node in site.nodes)
    finally:
        site.remove()


@pytest.fixture(scope="module", autouse=True)
def idle(quiet):
    """A stream of each kind, opened before the first test of this file and looked at in the last: the silence costs
    its 75 seconds once, beside the other tests."""
    shop = quiet.shop()
    visitor = shop.visitor()
    through_widget = shop.visitor(visitor.guest_id, through="widget")
    assert through_widget.dialog_id == visitor.dialog_id
    streams = [visitor.follow(), through_widget.follow(), shop.operator.follow(visitor.dialog_id), shop.operator.follow()]
    for stream in streams:
        stream.opening()
    yield time.monotonic(), visitor, streams
    for stream in streams:
        stream.close()


@pytest.fixture(scope="module")
def breakable(binary, cluster, directory):
    site = Site(binary, ROOT, cluster, given("REPLYX_DEV"), directory / "nginx-breakable")
    yield site
    site.remove()


@pytest.fixture
def site(breakable):
    """Two running nodes that a test may kill."""
    return breakable.start()


# Passing streams on

def test_events_pass_without_being_gathered(quiet):
    shop = quiet.shop()
    visitor = shop.visitor()
    with visitor.follow() as stream, shop.operator.follow() as account:
        stream.opening(), account.opening()
        for number in range(5):
            visitor.say(f"number {number}")
            for each in (stream, account):
                each.wait_for_texts([f"number {number}"], within=10)
        # Were it the heartbeats, 15 s apart, that pushed the events out, there would be more of them.
        assert len(stream.named("hb")) <= 2 and len(account.named("hb")) <= 2


def test_a_streams_head_passes_and_tells_a_proxy_farther_out_the_same(quiet):
    visitor = quiet.shop().visitor()
    wanted = {"Accept-Encoding": "gzip, br", "X-Request-Id": "named-by-the-client"}
    with Follower(f"{quiet.nginx.url}{visitor.path}/events", params=visitor.query, headers=wanted) as stream:
        stream.opening()
        assert stream.headers["content-type"].replace(" ", "").lower() == "text/event-stream;charset=utf-8"
        assert stream.headers["x-accel-buffering"] == "no" and "content-encoding" not in stream.headers
        assert {"no-cache", "no-transform"} <= {part.strip() for part in stream.headers["cache-control"].split(",")}
        assert stream.headers["x-request-id"] == "named-by-the-client"
        assert stream.headers["server"] == "nginx", "no version"


def test_the_same_path_serves_json(quiet):
    visitor = quiet.shop().visitor()
    visitor.say("for a poll")
    assert [item["message"]["text"] for item in visitor.page(visitor.opened["cursor"])["items"]] == ["for a poll"]


def test_whoever_leaves_frees_the_place_on_the_node_before_a_heartbeat_could_tell(quiet):
    before = quiet.open_streams()
    streams = [visitor.follow() for visitor in quiet.shop().visitors(10)]
    for stream in streams:
        stream.opening()
    added = [now - then for now, then in zip(quiet.open_streams(), before)]
    assert sum(added) == 10 and all(added), f"on both nodes: {added}"
    for stream in streams:
        stream.close()
    eventually(lambda: quiet.open_streams() == before, "the nodes to know", within=10)


def test_a_long_body_is_taken_and_one_beyond_all_bounds_is_refused_with_a_problem(quiet):
    visitor = quiet.shop().visitor()
    # 10,000 characters, each written as two escapes of six bytes.
    body = '{"text":"' + "\\ud83d\\ude00" * 10_000 + '"}'
    answer = quiet.nginx.http.post(f"{visitor.path}/messages", params=visitor.query, content=body,
                                   headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and len(answer.json()["user_message"]["text"]) == 10_000
    for size in (300 << 10, (1 << 20) + 1):
        refused = quiet.nginx.http.post(f"{visitor.path}/messages", params=visitor.query, content=b" " * size,
                                        headers={"Content-Type": "application/json"})
        assert_problem(refused, 413, "body_too_large")


def test_twenty_streams_share_one_connection_of_http2(quiet, tmp_path):
    visitors = quiet.shop().visitors(20)
    command = ["curl", "-sS", "-N", "--http2", "--parallel", "--parallel-max", "20", "--max-time", "60",
               "--cacert", str(quiet.nginx.certificate)]
    for number, visitor in enumerate(visitors):
        command += ["-o", str(tmp_path / str(number)), f"{quiet.nginx.https_url}{visitor.path}/events?{urlencode(visitor.query)}"]
    reader = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def seen(number: int) -> str:
        file = tmp_path / str(number)
        return file.read_text() if file.exists() else ""

    try:
        eventually(lambda: all("event: hb" in seen(number) for number in range(20)), "twenty opening heartbeats")
        for number, visitor in enumerate(visitors):
            visitor.say(f"only for reader {number}.")
        eventually(lambda: all(f"only for reader {number}." in seen(number) for number in range(20)), "each reader's message")
        assert all(seen(number).count("message:new") == 1 for number in range(20))
    finally:
        reader.terminate()
        reader.communicate(timeout=10)
    paths = {f"{visitor.path}/events" for visitor in visitors}
    streams = eventually(lambda: len(found := [line for line in quiet.nginx.requests() if line["path"] in paths]) == 20
                         and found, "twenty lines in the log")
    assert {line["protocol"] for line in streams} == {"HTTP/2.0"} and {line["status"] for line in streams} == {200}
    assert len({line["connection"] for line in streams}) == 1


# Nodes that are gone

def test_a_killed_node_is_passed_over_and_nothing_is_sent_twice(site):
    shop = site.shop()
    visitor, lost = shop.visitor(), site.nodes[0]
    with visitor.follow() as stream:
        cursor = stream.opening().id
    lost.kill()
    said = [f"after the kill {number}" for number in range(40)]
    for text in said:
        # Without a key of its own, a message that was sent twice would be two.
        assert visitor.post({"text": text}).status_code == 200
        assert shop.operator.get("/api/dialogs").status_code == 200
    for _ in range(10):
        with visitor.follow(last_event_id=cursor) as stream:
            assert texts(stream.wait_for_texts(said)) == said
    site.start()
    eventually(lambda: visitor.messages()["items"] and all(
        node.is_running() for node in site.nodes), "both nodes again")


class Refuser:
    """In a node's place: takes a whole request, notes it, and breaks the connection off without an answer."""

    def __init__(self):
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                self.requests.append(received.split(b" ", 1)[0].decode())

    def close(self) -> None:
        self._listener.close()


def test_what_was_sent_to_a_node_that_broke_off_is_sent_again_only_if_that_is_safe(directory):
    nodes = [Refuser(), Refuser()]
    nginx = Nginx(given("REPLYX_DEV"), directory / "nginx-refusers", [node.url for node in nodes])
    try:
        assert_problem(nginx.http.post("/api/site/dialogs", json={}), 503, "unavailable")
        assert [request for node in nodes for request in node.requests] == ["POST"]
        assert_problem(nginx.http.get("/api/me"), 503, "unavailable")
        asked = [request for node in nodes for request in node.requests]
        assert asked.count("POST") == 1 and all("GET" in node.requests for node in nodes), asked
    finally:
        nginx.remove()
        [node.close() for node in nodes]


def test_a_post_that_a_node_refused_to_connect_for_goes_to_the_other(site):
    """Whichever node nginx tries first, in as many first tries as it takes until the dead one has been among them."""
    shop = site.shop()
    visitor = shop.visitor()
    site.nodes[1].kill()
    for number in range(20):
        visitor.say(f"message {number}")
    passed_on = [line for line in site.nginx.requests() if line["method"] == "POST" and ", " in line["upstream"]]
    assert passed_on and all(line["upstream_status"] == "502, 200" and line["status"] == 200 for line in passed_on)


def test_with_no_node_left_streams_are_told_to_come_back_and_the_rest_is_a_problem(site):
    shop = site.shop()
    visitor = shop.visitor()
    for node in site.nodes:
        node.kill()
    delays, streams = set(), [(f"{visitor.path}/events", visitor.query), (f"/api/dialogs/{visitor.dialog_id}/events", {}),
                              ("/api/admin/events", {}), (f"/api/widget/dialogs/{visitor.dialog_id}/events", {})]
    for path, query in streams * 10:
        for accept in ({"Accept": "text/event-stream"}, {}):
            answer = site.nginx.http.get(path, params=query, headers=accept)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "no-cache" in answer.headers["cache-control"]
            delays.add(int(re.fullmatch(r"retry: (\d+)\n\n", answer.text)[1]))
    assert len(delays) > 3 and 2000 <= min(delays) and max(delays) <= 9000, delays

    rest = [site.nginx.http.get("/api/me"), site.nginx.http.post(f"{visitor.path}/messages", json={"text": "lost"}),
            site.nginx.http.get("/readyz"),
            site.nginx.http.get(f"{visitor.path}/events", params=visitor.query, headers={"Accept": "application/json"})]
    for answer in rest:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    for node in site.nodes:
        node.start()
    visitor.say("there they are again, and found at once")


@pytest.mark.skipif(not Node.is_here(), reason="needs node with --experimental-eventsource")
def test_five_hundred_event_sources_on_a_killed_node_are_all_back_within_five_seconds(breakable):
    killed, other = breakable.nodes
    breakable.start()
    other.kill()
    shop = breakable.shop()
    visitors = shop.visitors(50)
    urls = [f"{breakable.nginx.url}{visitor.path}/events?{urlencode({'stream_token': visitor.opened['stream_token']})}"
            for visitor in visitors for _ in range(10)]
    wanted = {visitor.dialog_id: [] for visitor in visitors}
    with Crowd(urls) as crowd:
        eventually(lambda: len(crowd.first("hb", 0)) == 500, "500 opening heartbeats", within=60)
        assert killed.open_streams() == 500, "all on the node that will be killed"
        other.start()
        breakable.wait_until_reached(other)
        stop = threading.Event()

        def write(part: list) -> None:
            number = 0
            while not stop.is_set():
                visitor, text = part[number % len(part)], f"message {number}"
                body = {"text": text, "client_message_id": str(uuid.uuid4())}
                answer = persistently(lambda: visitor.post(body))
                assert answer.status_code == 200, answer.text
                wanted[visitor.dialog_id].append(text)
                number += 1
                time.sleep(0.1)

        with ThreadPoolExecutor(4) as hands:
            writers = [hands.submit(write, visitors[hand::4]) for hand in range(4)]
            try:
                eventually(lambda: all(wanted.values()), "messages in every dialog")
                at = time.time()
                killed.kill()
                eventually(lambda: len(crowd.first("hb", at)) == 500, "everybody to be back")
                time.sleep(1)
            finally:
                stop.set()
            [writer.result(timeout=60) for writer in writers]
        assert other.open_streams() == 500

        def everything_is_there() -> bool:
            return len(crowd.named("message")) >= 10 * sum(map(len, wanted.values()))

        eventually(everything_is_there, "every message at every reader")
        time.sleep(0.5)
        slowest = max(crowd.first("hb", at).values()) - at
        print(f"the last of 500 was back after {slowest:.1f} s")
        assert slowest <= BACK_WITHIN
        assert crowd.is_running() and not crowd.named("gave up") and not crowd.named("reset")
        heard = {reader: [] for reader in range(500)}
        for fact in crowd.named("message"):
            heard[fact["reader"]].append(fact)
        for reader, told in heard.items():
            dialog = told[0]["data"]["dialog_id"]
            numbers = [position(fact["id"])[1] for fact in told]
            assert numbers == list(range(1, len(wanted[dialog]) + 1)), (reader, numbers)
            assert sorted(fact["data"]["message"]["text"] for fact in told) == sorted(wanted[dialog])
    breakable.database.assert_gapless(shop.account_id)


# What is written down

def test_the_log_says_which_node_answered_and_keeps_no_token(site):
    shop = site.shop()
    visitor = shop.visitor()
    secrets = {"site token": shop.site_token, "guest id": visitor.guest_id, "stream token": visitor.opened["stream_token"],
               "access token": shop.operator.token, "cookie": "a-cookie-of-the-tests", "referrer": "https://referrer.example"}
    headers = {**shop.operator.credentials, "Cookie": f"replyx={secrets['cookie']}", "Referer": secrets["referrer"]}

    def ask(name: str) -> None:
        for query in (visitor.query, {"stream_token": visitor.opened["stream_token"]}):
            for path in (f"{visitor.path}/messages", f"{visitor.path}/messages/../messages", "/nothing", "/api/%00"):
                site.nginx.http.get(path, params=query, headers={**headers, "X-Request-Id": name})
            with Follower(f"{site.nginx.url}{visitor.path}/events", params=query, headers={**headers, "X-Request-Id": name}):
                pass
        site.nginx.http.post(f"{visitor.path}/messages", params=visitor.query, headers=headers, content=b" " * 2_000_000)

    ask("both-nodes")
    # What goes wrong is what an error log likes to quote.
    site.nodes[0].kill()
    ask("one-node")
    site.nodes[1].kill()
    ask("no-node")
    # What nginx refuses itself (a NUL) it has not read far enough to know its name.
    log = eventually(lambda: (text := site.nginx.log()).count('"no-node"') == 8 and text, "the lines")
    for name, hidden in secrets.items():
        assert hidden not in log, f"{name} in the log"
    assert "?" not in log
    lines = [line for line in site.nginx.requests() if line["request_id"] == "one-node" and line["path"].endswith("/messages")]
    answered = f"127.0.0.1:{site.nodes[1].port}"
    assert {line["upstream"].split(", ")[-1] for line in lines} == {answered}


def test_productions_own_part_redirects_to_https_and_refuses_old_tls(quiet, directory, tmp_path):
    """The three neighbours as they are deployed, with other names and ports in them."""
    http, https = free_port(), free_port()
    place = directory / "nginx-production"
    shutil.copytree(ROOT / "deploy" / "nginx", place / "replyx")
    shutil.copytree(quiet.nginx.certificate.parent, place / "tls")
    (place / "nginx.conf").symlink_to(ROOT / "deploy" / "nginx.conf")
    exchange = {"node1:8000": quiet.nodes[0].url[7:], "node2:8000": quiet.nodes[1].url[7:],
                "listen 80 ": f"listen 127.0.0.1:{http} ", "listen 443 ": f"listen 127.0.0.1:{https} "}
    for file in (place / "replyx").iterdir():
        text = file.read_text()
        for name, here in exchange.items():
            text = text.replace(name, here)
        if file.name == "extras.conf":
            text += "".join(f"{kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file.write_text(text)
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([program, "-p", f"{place}/", "-c", place / "nginx.conf", "-e", "stderr",
                                    "-g", "daemon off; pid nginx.pid;"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        plain = httpx.Client(base_url=f"http://127.0.0.1:{http}", trust_env=False)

        def alive() -> bool:
            try:
                return plain.get("/livez").status_code == 204
            except httpx.TransportError:
                return False

        eventually(alive, f"nginx to answer: {(tmp_path / 'log').read_text()}")
        for method in ("GET", "POST"):
            answer = plain.request(method, "/api/login?x=1")
            assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/api/login?x=1")
        plain.close()

        def https_status(*options: str) -> str:
            command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert",
                       str(quiet.nginx.certificate), *options, f"https://127.0.0.1:{https}/livez"]
            return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

        assert https_status() == "2 204"
        assert https_status("--tls-max", "1.2") == "2 204"
        assert https_status("--tls-max", "1.1").endswith(" 000")
    finally:
        process.terminate()
        process.wait(timeout=10)


# Last, because the streams were opened before the first test.

def test_each_kind_of_stream_stays_open_over_75_idle_seconds(idle):
    opened, visitor, streams = idle
    time.sleep(max(0.0, opened + IDLE_SECONDS - time.monotonic()))
    for stream in streams:
        assert not stream.ended, f"{stream.url}: {stream.error!r}"
        assert not stream.events and not stream.named("bye")
        # The opening one and those of every 15 s.
        assert len(stream.named("hb")) >= 1 + IDLE_SECONDS // 15 - 1
    visitor.say("after the silence")
    for stream in streams:
        cursor = stream.named("hb")[0].id
        assert_contiguous(stream.wait_for_texts(["after the silence"]), after=cursor)
