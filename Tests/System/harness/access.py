"""The seconds within which an end of access counts, and how an open stream says so."""

from harness.people import Shop
from harness.streams import Follower

#: The contract's 5 and 4, and a little for a busy machine of two cores.
STREAM_ENDS, REQUEST_REFUSED = 5.5, 4.5


def assert_expires(stream: Follower, within: float = STREAM_ENDS) -> None:
    stream.wait_for_end(within=within)
    assert stream.error is None, "a clean end"
    assert [frame.data["reason"] for frame in stream.named("bye")] == ["expired"]


def change_assistant(shop: Shop, **fields: object) -> None:
    answer = shop.server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials, json=fields)
    assert answer.status_code == 200, answer.text
