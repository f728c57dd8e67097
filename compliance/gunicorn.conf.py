"""How gunicorn serves the portal: `gunicorn --config compliance/gunicorn.conf.py compliance.wsgi`."""

import os
from pathlib import Path

# Only this machine unless told otherwise: a proxy that speaks HTTPS belongs in front.
bind = os.environ.get("BIND") or f"127.0.0.1:{os.environ.get('PORT') or 8000}"

# Each thread keeps one connection to PostgreSQL: their number must stay below its max_connections.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, max(2, os.cpu_count() or 2)))
worker_class = "gthread"
threads = 8
keepalive = 75  # seconds; longer than the 60 that proxies usually keep an idle connection

timeout = 60  # seconds; for gthread: until a worker that no longer answers its master is replaced
graceful_timeout = 30  # seconds for requests under way after SIGTERM: a STOP must get its answer
# Workers prove to be alive through a file: in memory, so that a slow disk does not get one killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# A door to the running server that nothing here uses.
control_socket_disable = True

# No address, query, referrer or login: those name people. A path has only our own ids in it.
accesslog = "-"
access_log_format = "%(t)s %(m)s %(U)s %(s)s %(B)s bytes %(M)s ms"
