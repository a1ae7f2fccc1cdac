"""The chat frame on customers' pages: where it works, where the browser refuses it, and what it gives away."""

import itertools
import time

import pytest

from harness.streams import texts
from harness.tokens import changed
from harness.waiting import eventually
from web import CHAT

counter = itertools.count()


def words(what: str) -> str:
    """A text that nobody has said before."""
    return f"{what} ({next(counter)})"


def say(browser, text):
    """In the frame: types and presses Enter."""
    browser.find("#field").send_keys(text, "\n")


def shown(browser, text, within=20):
    return eventually(lambda: browser.texts(".bubble").count(text), f"{text!r} in the frame", within)


def dialog_of(operator_stream, text):
    events = operator_stream.wait_for_texts([text])
    return next(event.data["dialog_id"] for event in events if texts([event]) == [text])


def converse(browser, shop, question=None):
    """In the frame: the visitor asks and the operator answers. Returns the dialog."""
    question, answer = question or words("Do you ship to Norway?"), words("We do.")
    with shop.operator.follow() as stream:
        stream.opening()
        say(browser, question)
        dialog = dialog_of(stream, question)
    shop.operator.answer(dialog, answer)
    shown(browser, answer)
    return dialog


@pytest.mark.parametrize("host", ["shop.example", "www.shop.example", "shop.example:8080"])
def test_in_a_frame_on_an_allowed_site_visitor_and_operator_talk(browser, shop, host):
    browser.visit(f"http://{host}/")
    with browser.inside():
        converse(browser, shop)
        assert browser.driver.execute_script("return location.hostname") == CHAT
    browser.picture(f"embedded-{host.split(':')[0]}")


@pytest.mark.parametrize("address", ["http://evil.example/", "http://evilshop.example/", "http://shop.example.evil.example/",
                                     "http://shop.example/tokenless"])
def test_anywhere_else_the_browser_refuses_the_frame(browser, web, address):
    browser.visit(address)
    assert [asked.status for asked in web.asked("/chat/")] == [200], "the page was not even asked for"
    with browser.inside():
        assert not browser.texts("#composer"), "the frame is shown"
    assert not web.asked("/chat/.+"), "what the page needs was loaded"
    eventually(lambda: [said["effective-directive"] for said in web.violations] == ["frame-ancestors"], "the reason")
    browser.picture("refused")


def test_no_address_and_no_referrer_carries_a_secret(browser, web, shop, server):
    operator = shop.operator
    browser.visit("http://shop.example/")
    with browser.inside():
        converse(browser, shop)
        referrer = browser.driver.execute_script("return document.referrer")
    browser.driver.switch_to.new_window("tab")
    # The operator in the same browser: with an access token in the demo, and with the panel's session.
    browser.visit(f"http://{CHAT}/demo/")
    browser.find(".login-form input[name=email]").send_keys(operator.email)
    browser.find(".login-form input[name=password]").send_keys(operator.password, "\n")
    access = eventually(lambda: browser.run(
        "return JSON.parse(sessionStorage.getItem('replyx.demo.session') ?? '{}').token"), "the demo's token")
    eventually(lambda: web.asked("/api/admin/events"), "the account's stream")
    browser.run("""
        const headers = {"Content-Type": "application/json", "X-Replyx": "1"};
        const body = JSON.stringify({username: given[0], password: given[1], session: true});
        const answer = await fetch("/api/login", {method: "POST", headers, body});
        if (!answer.ok) throw new Error(answer.status);
        """, operator.email, operator.password)
    session = browser.driver.get_cookie("replyx")["value"]
    assert browser.run("return (await fetch('/api/me')).status") == 200
    # And the visitor again, on a page of our own: there the session's cookie would go along with what lets it.
    browser.visit(f"http://{CHAT}/chat/?site_token={shop.site_token}")
    converse(browser, shop)

    guests = {asked.headers["x-guest-id"] for asked in web.asked("/api/site/.*") if "x-guest-id" in asked.headers}
    assert len(guests) == 2, "one for each page that the frame was part of"
    assert any("stream_token=" in asked.url for asked in web.asked(r"/api/site/dialogs/\d+/events"))
    assert any(session in asked.headers.get("cookie", "") for asked in web.asked("/api/me"))
    assert any(access in asked.headers.get("authorization", "") for asked in web.requests)
    # EventSource cannot leave it away; the visitors' routes ignore it.
    assert not [asked.url for asked in web.asked("/api/site/.*(?<!/events)") if "cookie" in asked.headers]
    secrets = {*guests, session, access, operator.password}
    for place in [*(asked.url for asked in web.requests), referrer, server.log(),
                  *(asked.headers.get("referer", "") for asked in web.requests)]:
        assert not [secret for secret in secrets if secret in place]
    streams = [asked.url.partition("stream_token=")[2].partition("&")[0] for asked in web.asked(".*/events")]
    assert not [token for token in [shop.site_token, *filter(None, streams)] if token in server.log()]
    # Those that may stand in an address stand in no other request's `Referer`.
    assert not [asked.url for asked in web.requests if "token=" in asked.headers.get("referer", "")]
    assert "token=" not in referrer
    assert not [asked.url for asked in web.requests if "site_token=" in asked.url and asked.path != "/chat/"]


def test_the_frame_obeys_its_content_security_policy(browser, shop, web):
    browser.visit("http://shop.example/")
    with browser.inside():
        converse(browser, shop, "<img src=x onerror=alert(1)> " + words("markup"))
        assert not web.violations
        # And it would be heard if it did not.
        browser.run("const script = document.createElement('script'); script.textContent = '0';"
                    "document.body.append(script); document.body.setAttribute('style', 'color: red');")
    eventually(lambda: {said["effective-directive"] for said in web.violations} == {"script-src-elem", "style-src-attr"},
               "reports of an inline script and an inline style")


def test_text_is_shown_as_text(browser, shop):
    hostile = "<img src=x onerror=alert(1)><b>bold</b> javascript:alert(1) &amp; " + words("שלום 🙂")
    browser.visit("http://shop.example/")
    with browser.inside():
        dialog = converse(browser, shop)
        shop.operator.answer(dialog, hostile)
        shown(browser, hostile)
        assert browser.driver.execute_script("return document.querySelectorAll('#messages :is(img, b, a, script)').length") == 0


def test_after_a_reload_the_visitor_finds_the_conversation_again(browser, shop, web):
    browser.visit("http://shop.example/")
    with browser.inside():
        converse(browser, shop)
        before = browser.texts(".bubble")
    browser.visit("http://shop.example/")
    with browser.inside():
        eventually(lambda: browser.texts(".bubble") == before, "the same messages in the same order")
        converse(browser, shop)
    assert len({asked.headers["x-guest-id"] for asked in web.asked("/api/site/dialogs", "POST")}) == 1


def test_a_message_whose_answer_got_lost_is_sent_again_and_is_one(browser, shop, web):
    lost = []

    def loses(asked):
        if len(lost) == 2 or asked.method != "POST" or not asked.path.endswith("/messages"):
            return False
        lost.append(asked)
        return True

    text = words("Is anybody there?")
    browser.visit("http://shop.example/")
    with browser.inside():
        converse(browser, shop)
        web.loses = loses
        say(browser, text)
        eventually(lambda: [asked.status for asked in web.asked(r".*/messages", "POST")][-3:] == [200] * 3,
                   "two answers lost and a third that came through")
        assert len(lost) == 2
        eventually(lambda: not browser.texts(".pending"), "nothing left on its way")
        assert browser.texts(".bubble").count(text) == 1
        browser.driver.execute_script("location.reload()")
        assert shown(browser, text) == 1


def test_a_stream_whose_token_has_run_out_goes_on_with_a_new_one(browser, shop, web):
    expired = []

    def redirects(asked):
        if expired or not asked.path.endswith("/events"):
            return asked.url
        expired.append(asked)
        token = asked.url.partition("stream_token=")[2].partition("&")[0]
        return asked.url.replace(token, changed(token, exp=int(time.time()) - 60))

    web.redirects = redirects
    browser.visit("http://shop.example/")
    with browser.inside():
        converse(browser, shop)
    assert len(expired) == 1
    streams = [asked.url for asked in web.asked(r"/api/site/dialogs/\d+/events")]
    histories = web.asked(r"/api/site/dialogs/\d+/messages", "GET")
    assert len(streams) == 2 and len(histories) == 2, "one renewal, by way of the history"


def test_what_is_written_while_the_server_is_away_arrives_once_when_it_is_back(browser, shop, server):
    texts_away = [words("Are you still there?"), words("Hello?")]
    browser.visit("http://shop.example/")
    with browser.inside():
        dialog = converse(browser, shop)
        server.kill()
        for text in texts_away:
            say(browser, text)
        browser.find(".waiting")
        eventually(lambda: browser.texts("#connection") == ["Connection lost. Trying again…"], "the state in words")
        assert [bubble in browser.texts(".pending .bubble") for bubble in texts_away] == [True, True]
    browser.picture("away")
    server.start()
    with browser.inside():
        eventually(lambda: not browser.texts(".pending"), "nothing left on its way", within=40)
        eventually(lambda: browser.texts("#connection") == ["Connected"], "the state in words", within=40)
        answer = words("I am.")
        shop.operator.answer(dialog, answer)
        shown(browser, answer)
        assert browser.texts(".bubble")[2:] == [*texts_away, answer]


def test_a_visitor_who_is_no_longer_let_in_is_told_so(browser, server):
    shop = server.shop(allowed_domains=["shop.example"])
    browser.visit(f"http://{CHAT}/chat/?site_token={shop.site_token}")
    converse(browser, shop)
    revoked = shop.operator.post(f"/api/assistants/{shop.assistant_id}/revoke-tokens", {})
    assert revoked.status_code == 200, revoked.text
    eventually(lambda: browser.texts("#notice") == ["This chat is not available."], "the reason")
    assert not browser.find("#field").is_enabled()
    browser.picture("not-let-in")


def test_what_is_closed_goes_on_in_the_next_dialog(browser, shop):
    browser.visit("http://shop.example/")
    with browser.inside():
        first = converse(browser, shop)
        shop.server.database.execute(f"UPDATE dialogs SET status = 'closed', closed_at = now() WHERE id = {first}")
        assert converse(browser, shop) != first
