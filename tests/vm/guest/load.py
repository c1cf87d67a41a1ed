"""Steady S3 traffic inside a machine: objects are written, read back and compared, and every failure is kept.

    load.py ENDPOINT BUCKET RESULT [WORKERS]
    load.py --digest ENDPOINT BUCKET KEY       only reads one object, and prints its SHA-256

Runs until SIGTERM, then writes `{"requests": …, "stale": …, "failures": […]}` to RESULT. Nothing is tried twice: a
request that fails is what a client would see. An answer with an earlier content of the object, or that it is not there
yet, is stale: filers of SeaweedFS with a store each learn of a write a little later. Signed with AWS Signature
Version 4, the keys of the usual variables.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

PAUSE = 0.05
"""Seconds between the requests of one worker: load, but not a benchmark of the emulator."""

TIMEOUT = 60.0
REGION = "us-east-1"


def signed(method: str, host: str, path: str, body: bytes) -> dict[str, str]:
    """Return the headers of a request, signed (AWS, "Signature Version 4 signing process")."""
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": content, "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join([method, path, "", *(f"{key}:{value}" for key, value in headers.items()), "", names, content])
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (now[:8], REGION, "s3", "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    who = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={names}, Signature={key.hex()}",
    }


class Load:
    """The traffic of some workers, and what came of it."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        """Prepare for `endpoint`, http://host:port."""
        self.host = urlsplit(endpoint).netloc
        self.bucket = bucket
        self.stop = threading.Event()
        self.requests = 0
        self.stale = 0
        self.failures: list[str] = []
        self.earlier: dict[str, set[bytes]] = {}

    def worker(self, number: int) -> None:
        """Write and read objects until the end, over one connection that is kept."""
        connection = HTTPConnection(self.host, timeout=TIMEOUT)
        count = 0
        while not self.stop.is_set():
            count += 1
            body = os.urandom(64) * 64
            path = f"/{self.bucket}/load/{number}/{count % 50}"
            self.exchange(connection, "PUT", path, body, b"")
            self.exchange(connection, "GET", path, b"", body)
            self.earlier.setdefault(path, set()).add(body)
            self.stop.wait(PAUSE)

    def exchange(self, connection: HTTPConnection, method: str, path: str, body: bytes, want: bytes) -> None:
        """Do one request and note what is wrong with its answer."""
        self.requests += 1
        at = dt.datetime.now(dt.UTC).strftime("%H:%M:%S.%f")
        try:
            connection.request(method, path, body, signed(method, self.host, path, body))
            answer = connection.getresponse()
            got = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self.failures.append(f"{at} {method} {path}: {error!r}")
            return
        if method == "GET" and (answer.status == 404 or got in self.earlier.get(path, ())):
            self.stale += got != want
        elif answer.status != 200:
            self.failures.append(f"{at} {method} {path}: {answer.status} {got[:300]!r}")
        elif method == "GET" and got != want:
            self.failures.append(f"{at} {method} {path}: {len(got)} bytes that were never written there")


def digest(endpoint: str, bucket: str, key: str) -> str:
    """Return the SHA-256 of an object. Ends the program when it cannot be read."""
    host, path = urlsplit(endpoint).netloc, f"/{bucket}/{key}"
    connection = HTTPConnection(host, timeout=TIMEOUT)
    connection.request("GET", path, headers=signed("GET", host, path, b""))
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {body[:300]!r}")
    return hashlib.sha256(body).hexdigest()


def main() -> None:
    if sys.argv[1] == "--digest":
        sys.stdout.write(digest(*sys.argv[2:]) + "\n")
        return
    endpoint, bucket, result = sys.argv[1:4]
    load = Load(endpoint, bucket)
    signal.signal(signal.SIGTERM, lambda *_: load.stop.set())
    workers = [threading.Thread(target=load.worker, args=(n,)) for n in range(int((sys.argv[4:] or ["2"])[0]))]
    for worker in workers:
        worker.start()
    Path(result + ".started").touch()
    for worker in workers:
        worker.join()
    Path(result).write_text(json.dumps({"requests": load.requests, "stale": load.stale, "failures": load.failures}))


if __name__ == "__main__":
    main()
