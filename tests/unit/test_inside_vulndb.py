"""The feed of govulncheck's database: fetched from a server, and nothing but a whole database is taken."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.programs.common import Params, Problem
from pipeline.programs.scan import vulndb

WHOLE = {
    "index/db.json": json.dumps({"modified": "2026-11-20T00:00:00Z"}),
    "index/modules.json": "[]",
    "index/vulns.json": json.dumps([{"id": "GO-2026-1", "modified": "2026-11-20T00:00:00Z"}]),
    "ID/GO-2026-1.json": "{}",
}


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/vulndb.zip" else 404)
            self.end_headers()
            self.wfile.write(archive({**WHOLE, "index/db.json.gz": "x", "../outside": "x", "README": "x"}))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/vulndb.zip"
        server.shutdown()
        thread.join()


def test_the_database_arrives_without_what_is_not_part_of_it(url: str, tmp_path: Path) -> None:
    vulndb.main(Params(url=url, out=str(tmp_path / "v1")))
    found = {str(path.relative_to(tmp_path / "v1")): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == WHOLE


def test_a_server_without_it_is_a_problem_that_says_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="--scan-db"):
        vulndb.main(Params(url=url + "x", out=str(tmp_path)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>", "not a whole zip archive"),
        (archive(WHOLE)[:-30], "not a whole zip archive"),
        (archive({}), "lacks index/db.json"),
        (archive({k: v for k, v in WHOLE.items() if not k.startswith("ID/")}), "lacks ID/GO-2026-1.json"),
        (archive({k: v for k, v in WHOLE.items() if "ID/" not in k} | {"index/vulns.json": "[]"}), "lacks every entry"),
        (archive({**WHOLE, "index/db.json": "{}"}), "index of the database cannot be read"),
    ],
)
def test_only_a_whole_database_is_taken(data: bytes, reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        vulndb.unpack(data)
