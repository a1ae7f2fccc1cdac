"""A send is idempotent, and both numbers of the log stay gapless under many writers."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from harness.people import assert_problem
from harness.streams import assert_contiguous, texts

REPLAYED = "Idempotent-Replayed"


def close(server, visitor) -> None:
    server.database.execute(f"UPDATE dialogs SET status = 'closed', closed_at = now() WHERE id = {visitor.dialog_id}")


def count(server, visitor) -> int:
    return server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {visitor.dialog_id}")


def test_fifty_parallel_posts_with_one_key_make_one_message(server, shop):
    visitor, key, together = shop.visitor(), str(uuid.uuid4()), threading.Barrier(50)

    def post(_: int):
        together.wait(timeout=30)
        return visitor.post({"text": "only once", "client_message_id": key})

    with visitor.follow() as stream, ThreadPoolExecutor(50) as hands:
        opening = stream.opening()
        answers = list(hands.map(post, range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["user_message"]["id"] for answer in answers}) == 1
        fresh = [answer for answer in answers if answer.headers.get(REPLAYED) != "true"]
        assert len(fresh) == 1, f"{len(fresh)} answers claim to be the first"
        assert count(server, visitor) == 1

        visitor.say("the next one")
        stream.wait_for_texts(["the next one"])
        assert texts(stream.events) == ["only once", "the next one"]
        assert_contiguous(stream.events, after=opening.id)
    server.database.assert_gapless(shop.account_id)


def test_fifty_parallel_posts_of_an_operator_with_one_key_make_one_message(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    visitor.say("Hello?")
    with ThreadPoolExecutor(50) as hands:
        answers = list(hands.map(lambda _: shop.operator.answer(visitor.dialog_id, "Yes.", key), range(50)))
    assert len({answer["id"] for answer in answers}) == 1
    assert count(server, visitor) == 2


def test_a_repeat_answers_the_stored_message_and_says_so(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    first = visitor.post({"text": "hello", "client_message_id": key})
    assert first.headers.get(REPLAYED) in (None, "false")
    again = visitor.post({"text": "hello", "client_message_id": key})
    assert again.status_code == 200 and again.headers[REPLAYED] == "true"
    assert again.json()["user_message"] == first.json()["user_message"]
    assert again.json()["user_message"]["client_message_id"].lower() == key


def test_the_key_is_compared_as_a_uuid_whatever_its_case(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    first = visitor.say("hello", key.lower())
    again = visitor.post({"text": "hello", "client_message_id": key.upper()})
    assert again.json()["user_message"]["id"] == first["id"]


def test_a_key_with_another_text_is_409_and_changes_nothing(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    visitor.say("the one", key)
    before = server.database.counts()
    assert_problem(visitor.post({"text": "the other", "client_message_id": key}), 409, "client_message_id_reused")
    assert server.database.counts() == before
    assert [each["text"] for each in visitor.messages()["items"]] == ["the one"]


def test_parallel_posts_with_one_key_and_different_texts_store_one_and_refuse_the_others(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    with ThreadPoolExecutor(16) as hands:
        answers = list(hands.map(lambda number: visitor.post({"text": f"text {number}", "client_message_id": key}), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
    assert count(server, visitor) == 1


def test_the_same_key_of_another_sender_or_in_another_dialog_is_another_message(server, shop):
    one, two, key = shop.visitor(), shop.visitor(), str(uuid.uuid4())
    first = one.say("hello", key)
    second = two.say("hello", key)
    third = shop.operator.answer(one.dialog_id, "another text", key)
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert count(server, one) == 2 and count(server, two) == 1


def test_a_retry_is_answered_from_what_is_stored_though_the_dialog_was_closed_meanwhile(server, shop):
    visitor, key = shop.visitor(), str(uuid.uuid4())
    stored = visitor.say("the answer to this was lost", key)
    answered, operators_key = None, str(uuid.uuid4())
    answered = shop.operator.answer(visitor.dialog_id, "so was the answer to this", operators_key)
    close(server, visitor)

    again = visitor.post({"text": "the answer to this was lost", "client_message_id": key})
    assert again.status_code == 200, again.text
    assert again.headers[REPLAYED] == "true"
    assert again.json()["user_message"]["id"] == stored["id"]
    assert shop.operator.answer(visitor.dialog_id, "so was the answer to this", operators_key)["id"] == answered["id"]

    before = server.database.counts()
    assert_problem(visitor.post({"text": "news", "client_message_id": str(uuid.uuid4())}), 409, "dialog_closed")
    assert_problem(visitor.post({"text": "another text", "client_message_id": key}), 409, "client_message_id_reused")
    assert server.database.counts() == before

    following = shop.visitor(visitor.guest_id)
    assert following.dialog_id != visitor.dialog_id
    following.say("news")


def test_posts_without_a_key_are_messages_each(server, shop):
    visitor = shop.visitor()
    ids = {visitor.post({"text": "again"}).json()["user_message"]["id"] for _ in range(3)}
    assert len(ids) == 3


def test_32_writers_on_one_dialog_leave_both_numbers_gapless(server):
    shop = server.shop()
    visitor = shop.visitor()
    wanted = [f"message {number}" for number in range(640)]
    with visitor.follow() as dialog, shop.operator.follow() as account:
        start, head = dialog.opening(), account.opening()
        said = visitor.say_many(wanted, at_once=32)
        dialog.wait_for_texts(wanted, within=40), account.wait_for_texts(wanted, within=40)
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
        assert len(texts(dialog.events)) == len(texts(account.events)) == 640
    server.database.assert_gapless(shop.account_id)
    by_id = sorted(said, key=lambda message: message["id"])
    assert [message["seq"] for message in by_id] == sorted(message["seq"] for message in said), "ids rise as numbers do"


def test_32_writers_on_200_dialogs_of_one_account_leave_both_numbers_gapless(server):
    shop = server.shop()
    visitors = shop.visitors(200)
    with shop.operator.follow() as account:
        head = account.opening()

        def converse(number: int) -> None:
            visitor = visitors[number % 200]
            if number % 5 == 4:
                shop.operator.answer(visitor.dialog_id, f"message {number}")
            else:
                visitor.say(f"message {number}")

        with ThreadPoolExecutor(32) as hands:
            list(hands.map(converse, range(800)))
        account.wait_for_texts([f"message {number}" for number in range(800)], within=40)
        assert_contiguous(account.events, after=head.id)
        assert len(texts(account.events)) == 800
        seen: dict[int, list[int]] = {}
        for frame in account.events:
            if frame.data.get("dialog_seq") is not None:
                seen.setdefault(frame.data["dialog_id"], []).append(frame.data["dialog_seq"])
        assert len(seen) == 200
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen.values()), "each dialog in its own order"
    server.database.assert_gapless(shop.account_id)
    assert server.database.number(f"SELECT count(*) FROM messages WHERE account_id = {shop.account_id}") == 800


def test_writers_of_many_accounts_do_not_mix_their_numbers(server):
    shops = [server.shop() for _ in range(4)]
    visitors = [visitor for shop in shops for visitor in shop.visitors(5)]
    with ThreadPoolExecutor(32) as hands:
        list(hands.map(lambda number: visitors[number % 20].say(f"message {number}"), range(400)))
    for shop in shops:
        server.database.assert_gapless(shop.account_id)
        assert server.database.number(f"SELECT count(*) FROM messages WHERE account_id = {shop.account_id}") == 100
