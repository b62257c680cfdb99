"""limits, the library below Flask-Limiter and slowapi: three strategies, all of them scripts."""

from concurrent.futures import ThreadPoolExecutor

from checked import done, same, url
from limits import RateLimitItemPerHour
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

storage = storage_from_string(url)
same("check", storage.check(), True)
for strategy in (FixedWindowRateLimiter, SlidingWindowCounterRateLimiter):
    limiter, item = strategy(storage), RateLimitItemPerHour(50)
    name = strategy.__name__
    with ThreadPoolExecutor(8) as pool:
        hits = list(pool.map(lambda _: limiter.hit(item, name, "user"), range(80)))
    same(f"hits that {name} lets through", hits.count(True), 50)
    same(f"test of {name}", (limiter.test(item, name, "user"), limiter.test(item, name, "other")), (False, True))
    same(f"remaining of {name}", limiter.get_window_stats(item, name, "user").remaining, 0)
    limiter.clear(item, name, "user")
    same(f"clear of {name}", limiter.hit(item, name, "user"), True)

done("limits", "limits", "fixed window and sliding counter from 8 threads, stats, clear")
