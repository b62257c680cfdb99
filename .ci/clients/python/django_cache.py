"""Django's own cache over Redis."""

import django
from checked import done, refused, same, url
from django.conf import settings

BACKEND = "django.core.cache.backends.redis.RedisCache"
settings.configure(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": url, "KEY_PREFIX": "site"}})
django.setup()
from django.core.cache import cache

cache.set("page", {"html": "<p>", "views": [1, 2]}, timeout=60)
same("get", cache.get("page"), {"html": "<p>", "views": [1, 2]})
same("get of nothing", cache.get("none", "default"), "default")
same("add to a key that is there", cache.add("page", 1), False)
same("add", (cache.add("new", None), "new" in cache), (True, True))
same("get_or_set", cache.get_or_set("made", lambda: 7, 60), 7)
same("touch", (cache.touch("made", 100), cache.touch("none", 100)), (True, False))
left = cache._cache.get_client(write=True).ttl(cache.make_key("made"))
same("what touch has set", 60 < left <= 100, True)
cache.set("n", 1)
same("incr", (cache.incr("n"), cache.incr("n", 9), cache.decr("n")), (2, 11, 10))
refused("incr of nothing", ValueError, lambda: cache.incr("none"))
same("set_many", cache.set_many({"a": 1, "b": "two"}, timeout=60), [])
same("get_many", cache.get_many(["a", "b", "none"]), {"a": 1, "b": "two"})
cache.delete_many(["a", "b"])
same("delete_many", cache.get_many(["a", "b"]), {})
cache.set("old", 1, version=1)
same("incr_version", (cache.incr_version("old"), cache.get("old"), cache.get("old", version=2)), (2, None, 1))
same("delete", (cache.delete("page"), cache.delete("page")), (True, False))
cache.set("gone", 1, timeout=0)
same("a timeout of zero", cache.get("gone"), None)
cache.clear()
same("clear", cache.get("n"), None)

done("Django RedisCache", "Django", "set, get, add, touch, incr, get_many, set_many, delete_many, versions, clear")
