"""Is the portal alive, and can it store and send? For load balancers and for whoever is paged."""

from __future__ import annotations

from datetime import timedelta

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from messaging.models import Message

# A due text waits a second or two; one that waits this long says that no worker runs.
WORKER_IS_LATE = timedelta(minutes=2)


@never_cache
def alive(request: HttpRequest) -> JsonResponse:
    """200 while the process answers; asks nothing of anybody."""
    return JsonResponse({"status": "ok"})


@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """200 when a text can be stored and sent, otherwise 503 with what is wrong: database, migrations or worker."""
    checks = {"database": "ok", "migrations": "ok", "worker": "ok"}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            (read_only,) = cursor.fetchone()
        if read_only:
            checks["database"] = "is a read-only replica"
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            checks["migrations"] = "not applied: run manage.py migrate"
        elif Message.objects.filter(next_attempt_at__lt=timezone.now() - WORKER_IS_LATE).exists():
            checks["worker"] = "texts wait: run manage.py work"
    except Error:
        checks |= {"database": "cannot be reached", "migrations": "unknown", "worker": "unknown"}
    fine = all(state == "ok" for state in checks.values())
    return JsonResponse({"status": "ok" if fine else "not ready", "checks": checks}, status=200 if fine else 503)
