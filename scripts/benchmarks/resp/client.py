"""Times lookups one after the other: client.py http|resp HOST PORT DATASET RECORDS CALLS. Prints JSON."""
import http.client
import json
import random
import sys
import time

protocol, host, port, dataset, records, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
if protocol == "resp":
    try:
        import redis
    except ImportError as e:
        print(json.dumps({"error": str(e)}))
        sys.exit(0)
    library = "redis " + redis.__version__
    client = redis.Redis(host=host, port=port)
    get = lambda key: client.get(dataset + ":" + key)
else:
    library = "http.client of Python " + sys.version.split()[0]
    connection = http.client.HTTPConnection(host, port)
    path = "/v1/datasets/" + dataset + "/records/"

    def get(key):
        connection.request("GET", path + key)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else None

times, hits = [], 0
random.seed(1)
for i in range(-calls // 10, calls):  # the first tenth warms up
    key = "%012d" % random.randrange(records)
    start = time.perf_counter_ns()
    value = get(key)
    took = time.perf_counter_ns() - start
    if i >= 0:
        times.append(took / 1000)
        hits += value is not None and key.encode() in value
times.sort()
print(json.dumps({"library": library, "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100], "hits": hits}))
