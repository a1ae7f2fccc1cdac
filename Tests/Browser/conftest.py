"""Fixtures of the browser tests: real browsers on a web of the tests' own, and the built server in it.

The server, PostgreSQL and the people who use them are those of the system tests.
"""

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM = HERE.parent / "System"
sys.path[:0] = [str(HERE), str(SYSTEM)]

from engines import ENGINES  # noqa: E402
from web import CHAT, Web  # noqa: E402


def pytest_configure(config):
    """The system tests' fixtures and hooks, under another name, since a run has only one `conftest`."""
    found = importlib.util.spec_from_file_location("system_fixtures", SYSTEM / "conftest.py")
    sys.modules["system_fixtures"] = fixtures = importlib.util.module_from_spec(found)
    found.loader.exec_module(fixtures)
    config.pluginmanager.register(fixtures, "system_fixtures")


@pytest.fixture(scope="module")
def server(binary, cluster, directory):
    """The server, known to the world as http://chat.example. Its visitors all come from one address, and are many."""
    server = sys.modules["system_fixtures"].started(
        binary, cluster, directory, REPLYX_PUBLIC_URL=f"http://{CHAT}", REPLYX_LIMITS="on",
        REPLYX_LIMIT_ADDRESS_DIALOGS="1000")
    yield server
    survived = server.is_running()
    server.remove()
    assert survived, f"the server ended by itself: {server.log()[-4000:]}"


@pytest.fixture(scope="module")
def shop(server):
    """An account whose assistant may be embedded by shop.example."""
    return server.shop(allowed_domains=["shop.example"])


@pytest.fixture
def web(server, shop):
    web = Web(server.port)
    frame = f"http://{CHAT}/chat/?site_token={shop.site_token}"
    web.pages["/"] = page(f'<iframe src="{frame}" title="Chat"></iframe>')
    web.pages["/tokenless"] = page(f'<iframe src="http://{CHAT}/chat/" title="Chat"></iframe>')
    yield web
    web.close()


def page(body: str) -> str:
    return ('<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Kiln &amp; Kind</title>'
            '<style>body{margin:2rem;font:16px/1.5 "Noto Sans",sans-serif;background:#f3f2ee;color:#1d2226}'
            'iframe{position:fixed;right:24px;bottom:24px;width:380px;height:600px;border:0;border-radius:16px;'
            'box-shadow:0 10px 30px #0003}</style><link rel="icon" href="data:,"><h1>Stoneware, thrown by hand.</h1>'
            f"<p>A page of a customer.</p>{body}")


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def open_browser(request, web, tmp_path):
    """Opens browsers: `open_browser(language="ru", dark=True, size=(390, 844))`. Each is a person of its own."""
    opened = []

    def open_one(**settings):
        opened.append(request.param(web, tmp_path / f"profile-{len(opened)}", **settings))
        return opened[-1]

    yield open_one
    for browser in opened:
        browser.close()


@pytest.fixture
def browser(open_browser):
    return open_browser()
