"""AWS Signature Version 4 for the tests, after the Amazon S3 API Reference, "Authenticating Requests"."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

REGION = "us-east-1"


def signed(method: str, host: str, path: str, key: str, secret: str) -> dict[str, str]:
    """Return the headers that sign a request without query and body for `host`, as host:port."""
    now = datetime.now(UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    payload = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{payload}"
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret_of = f"AWS4{secret}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        secret_of = hmac.digest(secret_of, part.encode(), "sha256")
    signature = hmac.new(secret_of, text.encode(), "sha256").hexdigest()
    credential = f"Credential={key}/{scope},SignedHeaders={names},Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
