"""Reads a freshet-server with Debian's python3-redis, which speaks RESP2: python.py PORT PASSWORD."""

import sys

import redis

client = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), password=sys.argv[2], client_name="python")
assert client.ping()
assert client.get("cities:a") == b'{"name":"A"}'
assert client.get("cities:nope") is None
assert client.mget("cities:a", "cities:nope", "prices:p") == [b'{"name":"A"}', None, b"1"]
assert client.exists("cities:a", "cities:b") == 2
assert client.strlen("cities:a") == 12
assert client.hget("cities:a", "name") == b"A"
assert client.hmget("cities:a", "name", "x") == [b"A", None]
assert client.hgetall("cities:a") == {b"name": b"A"}
assert client.ttl("cities:a") == -1
assert client.type("cities:a") == b"string"
assert client.dbsize() == 102
assert len(set(client.scan_iter(match="cities:k*", count=7))) == 99
assert client.info()["redis_version"] and client.info("freshet")["datasets"] == 2
assert client.client_getname() == "python"
pipeline = client.pipeline(transaction=False)
for _ in range(1000):
    pipeline.get("cities:a")
assert pipeline.execute() == [b'{"name":"A"}'] * 1000
for wrong, text in ((lambda: client.set("cities:a", 1), "freshet publish"), (lambda: client.get("towns:a"), "NODATASET"), (lambda: client.hget("prices:p", "x"), "WRONGTYPE")):
    try:
        wrong()
    except redis.exceptions.ResponseError as error:
        assert text in str(error) or text in type(error).__name__ or "read-only" in str(error), error
    else:
        raise AssertionError(text)
try:
    redis.Redis(host="127.0.0.1", port=int(sys.argv[1])).ping()
except redis.exceptions.AuthenticationError:
    pass
print("fine")
