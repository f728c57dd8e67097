"""Pages over tables that grow without end: never more rows counted than a person would page through."""

from __future__ import annotations

from django.core import paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property


class Paginator(paginator.Paginator):
    """Counts up to `limit` rows and then says "more than": whoever looks for older rows filters or searches.

    Its pages end at the limit as well, since PostgreSQL walks over every row that a page skips.
    """

    limit = 10_000
    template_name = "portal/pagination.html"  # Unfold shows the paginator's own

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.limit)

    @cached_property
    def is_more(self) -> bool:
        """True when there are more rows than the limit."""
        return self._counted > self.limit

    @cached_property
    def _counted(self) -> int:
        if isinstance(self.object_list, QuerySet):
            return self.object_list.order_by()[: self.limit + 1].count()
        return len(self.object_list)
