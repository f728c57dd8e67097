"""Pages over tables that grow without end."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from offices.models import Number
from offices.paging import Paginator
from tests.factories import NumberFactory, OfficeFactory
from tests.offices.places import Role, address, as_role

pytestmark = pytest.mark.django_db


class Short(Paginator):
    limit = 5


@pytest.mark.parametrize(("rows", "count", "is_more"), [(0, 0, False), (5, 5, False), (6, 5, True), (8, 5, True)])
def test_rows_are_counted_up_to_the_limit(rows, count, is_more):
    office = OfficeFactory()
    for _ in range(rows):
        NumberFactory(office=office)

    paginator = Short(Number.objects.all(), per_page=2)

    assert (paginator.count, paginator.is_more) == (count, is_more)
    assert paginator.num_pages == max(1, -(-count // 2))


def test_the_database_is_never_asked_to_count_past_the_limit():
    with CaptureQueriesContext(connection) as queries:
        assert Short(Number.objects.all(), per_page=2).count == 0

    assert "LIMIT 6" in queries[0]["sql"]


def test_a_list_of_values_is_counted_as_it_is():
    assert Short([1, 2, 3], per_page=2).count == 3


@pytest.mark.usefixtures("pages")
def test_a_long_list_says_that_there_is_more(monkeypatch):
    office = OfficeFactory()
    for _ in range(6):
        NumberFactory(office=office)
    monkeypatch.setattr(Paginator, "limit", 5)

    page = " ".join(as_role(Role.COMPANY_ADMIN, office).get(address("number_changelist")).content.decode().split())

    assert "more than 5 numbers. Filter or search to see the others." in page
