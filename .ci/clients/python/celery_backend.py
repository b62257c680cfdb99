"""Celery's result backend: a worker stores, another process waits for it by pub/sub."""

import threading

from celery import Celery, states
from celery.result import AsyncResult
from checked import done, refused, same, url

# The broker is never spoken to.
app = Celery("app", broker="memory://", backend=url)
app.conf.result_expires = 3600
backend = app.backend

backend.store_result("one", {"sum": 3}, states.SUCCESS)
same("a stored result", AsyncResult("one", app=app).get(timeout=10), {"sum": 3})
backend.store_result("bad", ValueError("no such file"), states.FAILURE)
text = refused("a stored failure", ValueError, lambda: AsyncResult("bad", app=app).get(timeout=10))
same("a stored failure", text, "no such file")
same("an unknown task", AsyncResult("none", app=app).state, states.PENDING)

# Many are waited for before any of them is there.
results = [AsyncResult(f"task-{n}", app=app) for n in range(20)]
for result in results:
    backend.add_pending_result(result)


def work():
    for n in range(20):
        backend.store_result(f"task-{n}", n * n, states.SUCCESS)


worker = threading.Timer(0.5, work)
worker.start()
same("results that come while waiting", [r.get(timeout=20) for r in results], [n * n for n in range(20)])
worker.join()

ttl = backend.client.ttl(backend.get_key_for_task("one"))
same("lifetime of a result", 3500 < ttl <= 3600, True)
AsyncResult("one", app=app).forget()
same("a forgotten result", AsyncResult("one", app=app).state, states.PENDING)

done("Celery result backend", "celery", "store, failures, wait for 20 results by pub/sub, result_expires, forget")
