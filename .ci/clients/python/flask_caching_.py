"""Flask-Caching: cached views and functions."""

from checked import done, same, url
from flask import Flask
from flask_caching import Cache

app = Flask("app")
cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url, "CACHE_DEFAULT_TIMEOUT": 60})
calls = []


@app.route("/page")
@cache.cached()
def page():
    calls.append("page")
    return f"page {len(calls)}"


@cache.memoize(timeout=30)
def double(n):
    calls.append("double")
    return 2 * n


with app.test_client() as client:
    same("a cached view", [client.get("/page").text for _ in range(3)], ["page 1"] * 3)
with app.app_context():
    same("a memoized function", ([double(4), double(4), double(5)], calls.count("double")), ([8, 8, 10], 2))
    cache.delete_memoized(double, 4)
    same("delete_memoized", (double(4), double(5), calls.count("double")), (8, 10, 3))
    same("set", (cache.set("k", {"a": 1}, timeout=9), cache.get("k")), (True, {"a": 1}))
    same("add", (cache.add("k", 2), cache.add("new", 3)), (False, True))
    same("set_many", sorted(cache.set_many({"a": 1, "b": 2})), ["a", "b"])
    same("get_many", cache.get_many("a", "none", "b"), [1, None, 2])
    same("has", (cache.has("a"), cache.has("none")), (True, False))
    same("delete_many", (cache.delete_many("a", "b") is not False, cache.get("a")), (True, None))
    same("delete", (cache.delete("k"), cache.get("k")), (True, None))
    cache.clear()
    same("clear", cache.get("new"), None)

done("Flask-Caching", "Flask-Caching", "cached views, memoize, delete_memoized, add, set_many, get_many, clear")
