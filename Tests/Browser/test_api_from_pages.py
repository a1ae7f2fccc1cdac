"""The visitors' API called by scripts of other sites: allowed pages read the answers, the browser hides them from others."""

import secrets

import pytest

from web import CHAT

OPEN = """
    const answer = await fetch(given[0] + "/api/site/dialogs", {method: "POST", body: "{}", headers:
        {"Content-Type": "application/json", "X-Site-Token": given[1], "X-Guest-Id": given[2]}});
    const dialog = await answer.json();
    const stream = new EventSource(`${given[0]}/api/site/dialogs/${dialog.id}/events?stream_token=${dialog.stream_token}`);
    const head = await new Promise((resolve, reject) => {
        stream.addEventListener("hb", (event) => resolve(event.lastEventId));
        stream.addEventListener("error", () => reject("no stream"));
    });
    stream.close();
    return {status: answer.status, id: dialog.id, head, headers: [...answer.headers.keys()]};
"""


@pytest.fixture
def empty(web):
    web.pages["/"] = "<!doctype html><title>A page</title><link rel=icon href='data:,'>"
    return web


@pytest.mark.parametrize("host", ["shop.example", "www.shop.example", "shop.example:8080"])
def test_a_page_of_an_allowed_site_calls_the_api_and_follows_a_stream(browser, empty, shop, host):
    browser.visit(f"http://{host}/")
    opened = browser.run(OPEN, f"http://{CHAT}", shop.site_token, secrets.token_urlsafe(24))
    assert opened["status"] == 200 and opened["id"] > 0 and opened["head"]
    assert "x-request-id" in opened["headers"]
    assert [asked.status for asked in empty.asked("/api/site/dialogs", "OPTIONS")] == [204]


def test_a_page_can_read_how_long_it_has_to_wait(browser, empty, shop):
    """A visitor who writes too much: the refusal's own headers are not hidden by the browser."""
    visitor = shop.visitor()
    browser.visit("http://shop.example/")
    refused = browser.run("""
        const headers = {"Content-Type": "application/json", "X-Site-Token": given[1], "X-Guest-Id": given[2]};
        for (let count = 0; count < 45; count += 1) {
            const answer = await fetch(given[0], {method: "POST", headers, body: JSON.stringify({text: `message ${count}`})});
            if (answer.status !== 200)
                return {status: answer.status, code: (await answer.json()).code, headers: Object.fromEntries(answer.headers)};
        }
        """, f"http://{CHAT}{visitor.path}/messages", shop.site_token, visitor.guest_id)
    assert refused and (refused["status"], refused["code"]) == (429, "rate_limited")
    assert int(refused["headers"]["retry-after"]) > 0 and int(refused["headers"]["ratelimit-limit"]) == 30
    assert {"ratelimit-remaining", "ratelimit-reset"} <= refused["headers"].keys()


@pytest.mark.parametrize("host", ["evil.example", "evilshop.example"])
def test_from_other_sites_the_browser_does_not_show_the_answer(browser, empty, shop, host):
    browser.visit(f"http://{host}/")
    with pytest.raises(AssertionError, match="TypeError: Failed to fetch"):
        browser.run(OPEN, f"http://{CHAT}", shop.site_token, secrets.token_urlsafe(24))
    # Asked and refused, not merely lost: the preflight passes for everybody, the request itself does not.
    assert [asked.status for asked in empty.asked("/api/site/dialogs")] == [204, 403]


def test_no_other_site_reads_what_an_operator_may_read(browser, empty, shop):
    """Even from an allowed site, and with the operator's session in the same browser."""
    browser.visit(f"http://{CHAT}/demo/")
    status = browser.run("""
        const headers = {"Content-Type": "application/json", "X-Replyx": "1"};
        const body = JSON.stringify({username: given[0], password: given[1], session: true});
        return (await fetch("/api/login", {method: "POST", headers, body})).status;
        """, shop.operator.email, shop.operator.password)
    assert status == 200
    assert browser.run("return (await fetch('/api/dialogs')).status") == 200
    browser.visit("http://shop.example/")
    for path in ["/api/dialogs", "/api/me"]:
        with pytest.raises(AssertionError, match="TypeError: Failed to fetch"):
            browser.run("await fetch(given[0], {credentials: 'include'})", f"http://{CHAT}{path}")
    with pytest.raises(AssertionError, match="no stream"):
        browser.run("""
            const stream = new EventSource(given[0], {withCredentials: true});
            await new Promise((resolve, reject) => { stream.onopen = resolve; stream.onerror = () => reject("no stream"); });
            """, f"http://{CHAT}/api/admin/events")
