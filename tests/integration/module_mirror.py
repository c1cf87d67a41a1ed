"""A Go module proxy and a checksum database on loopback, with toolchains that a test makes up.

The proxy speaks the GOPROXY protocol (Go Modules Reference, "GOPROXY protocol"), and the database, below `/sumdb/`, has
what the go command asks of one: a signed tree head, records, and the tile with the hashes of the leaves
(golang.org/x/mod, `sumdb/note` and `sumdb/tlog`). A go command that trusts its key checks them as it does Go's own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MODULE = "golang.org/toolchain"
NAME = "sums.example.org"
GO_MOD = b"module golang.org/toolchain\n"
PLATFORM = "linux-amd64"


def module_version(version: str) -> str:
    """Return the version of the module that is the toolchain `version`."""
    return f"v0.0.1-go{version}.{PLATFORM}"


def hash_1(files: Mapping[str, bytes]) -> str:
    """Return the `h1:` sum of files by their names (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


class Mirror:
    """The toolchains of a mirror by version, each with its files, and a database that knows their sums.

    `asked` are the paths that were asked for. A version in `forged` is served with another content than the database
    knows.
    """

    def __init__(self, versions: Iterator[str] | tuple[str, ...]) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.url = ""
        self.asked: list[str] = []
        self.forged: set[str] = set()
        self.versions: list[str] = []
        self.records: list[bytes] = []
        for version in versions:
            self.add(version)

    def add(self, version: str) -> None:
        """Publish a toolchain."""
        name = f"{MODULE} {module_version(version)}"
        sums = f"{name} {self.sum(version)}\n{name}/go.mod {hash_1({'go.mod': GO_MOD})}\n"
        self.versions.append(version)
        self.records.append(sums.encode())

    def files(self, version: str) -> dict[str, bytes]:
        """Return the files of a toolchain, by their names in the module's zip."""
        top = f"{MODULE}@{module_version(version)}"
        return {f"{top}/VERSION": f"go{version}\n".encode(), f"{top}/bin/go": b"#!/bin/sh\n", f"{top}/go.mod": GO_MOD}

    def sum(self, version: str) -> str:
        """Return the sum that the database has for a toolchain."""
        return hash_1(self.files(version))

    @property
    def sumdb(self) -> str:
        """GOSUMDB of a go command that trusts this database (golang.org/x/mod/sumdb/note, verifier keys)."""
        return f"{NAME}+{self._key_hash.hex()}+{base64.b64encode(self._public).decode()}"

    @property
    def _public(self) -> bytes:
        return b"\x01" + self.key.public_key().public_bytes_raw()

    @property
    def _key_hash(self) -> bytes:
        return hashlib.sha256(NAME.encode() + b"\n" + self._public).digest()[:4]

    def answer(self, path: str) -> bytes | None:
        """Return what is at `path`, or None."""
        self.asked.append(path)
        if path.startswith(f"/{MODULE}/@v/"):
            return self._module(path.removeprefix(f"/{MODULE}/@v/"))
        return self._database(path.removeprefix(f"/sumdb/{NAME}")) if path.startswith(f"/sumdb/{NAME}/") else None

    def _module(self, name: str) -> bytes | None:
        if name == "list":
            return "".join(f"{module_version(version)}\n" for version in self.versions).encode()
        for version in self.versions:
            if name == f"{module_version(version)}.info":
                return f'{{"Version": "{module_version(version)}"}}'.encode()
            if name == f"{module_version(version)}.mod":
                return GO_MOD
            if name == f"{module_version(version)}.zip":
                return self._zip(version)
        return None

    def _zip(self, version: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in self.files(version).items():
                archive.writestr(name, data + (b"forged\n" if version in self.forged else b""))
        return buffer.getvalue()

    def _database(self, name: str) -> bytes | None:
        if name == "/supported":
            return b""
        if name == "/latest":
            return self._tree()
        if name == f"/tile/8/0/000.p/{len(self.records)}":
            return b"".join(map(leaf, self.records))
        for number, version in enumerate(self.versions):
            if name == f"/lookup/{MODULE}@{module_version(version)}":
                return f"{number}\n".encode() + self.records[number] + b"\n" + self._tree()
        return None

    def _tree(self) -> bytes:
        """Return the signed tree head: a note with the number of records and the hash over them."""
        root = base64.b64encode(tree_hash([leaf(record) for record in self.records])).decode()
        text = f"go.sum database tree\n{len(self.records)}\n{root}\n"
        signature = base64.b64encode(self._key_hash + self.key.sign(text.encode())).decode()
        return f"{text}\n— {NAME} {signature}\n".encode()


def leaf(record: bytes) -> bytes:
    """Return the hash of a record (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + record).digest()


def tree_hash(leaves: list[bytes]) -> bytes:
    """Return the Merkle tree hash over leaves that are hashes already (RFC 6962, section 2.1)."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


@contextmanager
def served(mirror: Mirror) -> Iterator[Mirror]:
    """Serve `mirror` on loopback while the block runs; `mirror.url` is its GOPROXY."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = mirror.answer(unquote(self.path))
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()
