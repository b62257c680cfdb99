"""django-redis: what it does besides Django's own cache, above all what it does in scripts."""

from concurrent.futures import ThreadPoolExecutor

import django
from checked import done, refused, same, url
from django.conf import settings

settings.configure(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}})
django.setup()
from django.core.cache import cache

same("set with nx", (cache.set("k", [1], nx=True), cache.set("k", [2], nx=True)), (True, False))
same("get", cache.get("k"), [1])
same("ttl without one", (cache.persist("k"), cache.ttl("k")), (True, None))
same("expire", (cache.expire("k", 50), 48 <= cache.ttl("k") <= 50), (True, True))
same("pexpire", (cache.pexpire("k", 9_000), 0 < cache.pttl("k") <= 9_000), (True, True))

# A counter that is read and written back in two steps would lose some of these.
cache.set("n", 0, timeout=None)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: cache.incr("n"), range(400)))
same("incr by eight threads", cache.get("n"), 400)
same("decr", cache.decr("n", 100), 300)
refused("incr of nothing", ValueError, lambda: cache.incr("none"))
cache.set("timed", 5, timeout=500)
same("incr keeps the lifetime", (cache.incr("timed"), cache.ttl("timed") > 400), (6, True))

with cache.lock("job", timeout=20):
    same("a second lock", cache.lock("job", timeout=20).acquire(blocking=False), False)
lock = cache.lock("job", timeout=20)
same("the lock when it is free", (lock.acquire(blocking=False), lock.extend(5), lock.release()), (True, True, None))

cache.set_many({f"page:{n}": n for n in range(250)})
same("iter_keys", len(set(cache.iter_keys("page:*", itersize=50))), 250)
same("keys", sorted(cache.keys("page:24?")), sorted(f"page:{n}" for n in range(240, 250)))
same("delete_pattern", (cache.delete_pattern("page:1*"), cache.get_many(["page:1", "page:2"])), (111, {"page:2": 2}))
cache.clear()
same("clear", cache.get("n"), None)

done("django-redis", "django-redis", "atomic incr from 8 threads, lock and extend, ttl, iter_keys, delete_pattern, clear")
