"""What every webhook is held to under load: each answer of many at once is a success, and comes after the commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from messaging.models import ConsentEvent, Message
from tests.messaging.carriers.dialect import Dialect
from tests.messaging.carriers.scene import CLIENT, Scene, a_stop, deliver, scene, with_dialects
from tests.messaging.texting import at_once

AT_ONCE = 20


def jobs(given: Scene, count: int) -> list[Callable[[], tuple[int, list[Any]]]]:
    """So many different texts of one person, each to be delivered by a thread of its own: a job gives the answer's
    status, and what somebody else sees of the text in that moment."""
    case = a_stop(given.dialect)
    body = given.dialect.payload(case)

    def job(n: int, client: Client) -> tuple[int, list[Any]]:
        posted = given.posted(case, given.dialect.another_text(body, f"Text {n}", f"load-{n}"))
        answer = deliver(posted, given.path, client)
        return answer.status_code, seen_by_somebody_else(f"load-{n}")

    return [partial(job, n, client) for n, client in enumerate(clients(count))]


def clients(count: int) -> list[Client]:
    """One for each thread, all with the same portal behind them."""
    made = [Client() for _ in range(count)]
    for client in made:
        client.handler = CLIENT.handler
    return made


def seen_by_somebody_else(message_id: str) -> list[Any]:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT text FROM messaging_message WHERE carrier_message_id = %s", [message_id])
            return cursor.fetchall()
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.behaviour("N6")
@with_dialects()
def test_twenty_texts_at_once_are_all_stored_before_they_are_answered(dialect: Dialect):
    given = scene(dialect)

    answers = at_once(jobs(given, AT_ONCE))

    assert answers == [(200, [(f"Text {n}",)]) for n in range(AT_ONCE)]
    assert Message.objects.filter(direction="in").count() == AT_ONCE


@pytest.mark.django_db(transaction=True)
@pytest.mark.behaviour("N5")
@with_dialects()
def test_one_stop_delivered_many_times_at_once_is_one_message_one_event_one_reply(dialect: Dialect):
    given = scene(dialect)
    posted = given.posted(a_stop(dialect))

    answers = at_once([partial(deliver, posted, given.path, client) for client in clients(8)])

    assert [answer.status_code for answer in answers] == [200] * 8
    assert Message.objects.filter(direction="in").count() == 1
    assert ConsentEvent.objects.filter(kind="opt_out").count() == 1
