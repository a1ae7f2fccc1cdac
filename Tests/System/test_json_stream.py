"""One contract, two transports: the same path answers JSON, by pages and by long poll, on the same cursor."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.streams import position


def follow_by_pages(visitor, cursor: str, **query: object) -> tuple[list[dict], str]:
    items: list[dict] = []
    while True:
        page = visitor.page(cursor, **query)
        items += page["items"]
        assert position(page["cursor"]) >= position(cursor)
        cursor = page["cursor"]
        if not page["has_more"]:
            return items, cursor
        assert page["items"], "more to come, and nothing here"


def test_pages_hold_the_same_events_as_the_stream(shop):
    visitor = shop.visitor()
    with visitor.follow() as stream:
        start = stream.opening().id
        visitor.say_many([f"message {number}" for number in range(60)])
        stream.wait_for_texts([f"message {number}" for number in range(60)])
        items, cursor = follow_by_pages(visitor, start, limit=7)
        assert items == [frame.data for frame in stream.events]
        assert cursor == stream.last_id


def test_a_page_is_no_longer_than_its_limit(shop):
    visitor = shop.visitor()
    start = visitor.opened["cursor"]
    visitor.say_many([f"message {number}" for number in range(10)])
    page = visitor.page(start, limit=4)
    assert len(page["items"]) == 4 and page["has_more"] is True
    assert [item["seq"] for item in page["items"]] == list(range(position(start)[1] + 1, position(start)[1] + 5))


def test_a_long_poll_is_answered_by_the_next_event(shop):
    visitor = shop.visitor()
    visitor.say("before")
    head = visitor.messages()["cursor"]
    with ThreadPoolExecutor(1) as hands:
        polling = hands.submit(visitor.page, head, wait=25)
        visitor.say("the awaited")
        page = polling.result(timeout=40)
    assert [item["message"]["text"] for item in page["items"] if item["type"] == "message:new"] == ["the awaited"]
    assert position(page["cursor"]) > position(head)


def test_a_long_poll_in_which_nothing_happens_comes_back_with_its_cursor(shop):
    visitor = shop.visitor()
    head = visitor.messages()["cursor"]
    begun = time.monotonic()
    page = visitor.page(head, wait=1)
    assert time.monotonic() - begun > 0.5, "it waited"
    assert page["items"] == [] and page["cursor"] == head and page["has_more"] is False


def test_polling_and_streaming_can_take_turns(shop):
    visitor = shop.visitor()
    cursor, heard = visitor.opened["cursor"], []
    for turn in range(6):
        visitor.say(f"turn {turn}")
        if turn % 2:
            with visitor.follow(last_event_id=cursor) as stream:
                stream.wait_for_texts([f"turn {turn}"])
                heard += [frame.data for frame in stream.events]
                cursor = stream.last_id
        else:
            items, cursor = follow_by_pages(visitor, cursor)
            heard += items
    assert [item["seq"] for item in heard] == list(range(position(visitor.opened["cursor"])[1] + 1, position(cursor)[1] + 1))
    assert [item["message"]["text"] for item in heard if item["type"] == "message:new"] == [f"turn {turn}" for turn in range(6)]


def test_the_operators_streams_have_the_json_form_too(shop):
    visitor = shop.visitor()
    head = shop.operator.get("/api/dialogs").json()["cursor"]
    visitor.say("to the account")
    for path, after in (("/api/admin/events", head), (f"/api/dialogs/{visitor.dialog_id}/events", visitor.opened["cursor"])):
        response = shop.server.http.get(path, params={"after": after}, headers={**shop.operator.credentials, "Accept": "application/json"})
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/json")
        told = [item["message"]["text"] for item in response.json()["items"] if item["type"] == "message:new"]
        assert told == ["to the account"]


@pytest.mark.parametrize("after, reason", [("garbage", "malformed"), ("ahead", "ahead"), ("generation", "generation")])
def test_a_cursor_that_cannot_be_continued_is_told_in_json_as_well(shop, after, reason):
    visitor = shop.visitor()
    visitor.say("before")
    head = visitor.messages()["cursor"]
    generation, number = position(head)
    asked = {"ahead": f"{generation}-{number + 5}", "generation": f"{generation + 7}-{number}"}.get(after, after)
    page = visitor.page(asked)
    assert page["reset"]["reason"] == reason
    assert page["cursor"] == head and page["items"] == []


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "abc"}, {"limit": "1000000"}, {"wait": "abc"}, {"wait": "-1"}], ids=str)
def test_a_bad_limit_or_wait_is_refused_or_bounded(shop, query):
    visitor = shop.visitor()
    response = shop.server.http.get(f"{visitor.path}/events", params={**visitor.query, "after": visitor.opened["cursor"], **query},
                                    headers={"Accept": "application/json"})
    assert response.status_code in (200, 400, 422), response.text
