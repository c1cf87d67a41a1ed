"""A server that speaks Dagger's GraphQL API without an engine behind it: it checks every query, and notes it.

Answers come from the types of the schema alone, and from what a test says that a file holds.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from unittest import mock

from graphql import (
    GraphQLList,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    IntrospectionQuery,
    build_client_schema,
    get_named_type,
    get_nullable_type,
    graphql_sync,
)

PROJECT = Path(__file__).resolve().parents[1]
SCHEMA = PROJECT / "tests" / "data" / "dagger" / f"schema-v{version('dagger-io')}.json"
SCALARS: dict[str, Any] = {"String": "text", "Boolean": True, "Int": 0, "Float": 0.0, "JSON": "{}", "Void": None}


@cache
def introspection() -> dict[str, Any]:
    """Return what an engine printed of its own API."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return dict(found.get("data", found))


@cache
def schema() -> GraphQLSchema:
    """Return the API's schema."""
    return build_client_schema(cast(IntrospectionQuery, introspection()))


@dataclass(frozen=True)
class Call:
    """One field of a query, with its arguments, and the call that made the object that it was asked of."""

    kind: str
    name: str
    arguments: Mapping[str, Any]
    parent: Call | None = None

    @property
    def parent_path(self) -> str:
        """The path of the directory or file that this was asked of."""
        return str(self.parent.arguments.get("path", "")) if self.parent else ""

    @property
    def chain(self) -> list[Call]:
        """This call and those before it, the first one first."""
        return [*(self.parent.chain if self.parent else []), self]


@dataclass
class Api:
    """The server: `files` are the contents of files by their path, `tags` those of every git repository.

    `digests` are those of images by their reference; every other reference is refused with `refusal`. `errors` is what
    it found wrong with queries.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ("3.68", "refs/tags/3.69")
    digests: Mapping[str, str] = field(default_factory=dict)
    refusal: str = "not found"
    calls: list[Call] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Check and carry out one query."""
        if "__schema" in request["query"]:
            return {"data": introspection()}
        with self._lock:
            self.texts.append(json.dumps(request))
            result = graphql_sync(
                schema(),
                request["query"],
                variable_values=request.get("variables"),
                field_resolver=self._resolve,
                type_resolver=lambda value, *_: value.kind,
            )
            found = result.errors or []
            self.errors += [error.message for error in found if not isinstance(error.original_error, RefusedError)]
            return {"data": result.data, **({"errors": [{"message": found[-1].message}]} if found else {})}

    def named(self, name: str) -> list[Call]:
        """Return the calls of one field."""
        return [call for call in self.calls if call.name == name]

    def _image_reference(self, address: str) -> str:
        """Return what the engine v0.21.7 answers, or fails with (core/schema/container.go, from)."""
        if address not in self.digests:
            text = f'failed to resolve image "{address}" (platform: "linux/amd64"): {address}: {self.refusal}'
            raise RefusedError(text)
        return f"{address.partition('@')[0]}@{self.digests[address]}"

    def _resolve(self, source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        parent = source if isinstance(source, Call) else None
        if info.field_name == "node":
            return self.calls[int(arguments["id"])]
        kind = get_nullable_type(info.return_type)
        named = get_named_type(kind)
        call = Call(named.name, info.field_name, arguments, parent)
        if isinstance(named, GraphQLObjectType):
            self.calls.append(call)
            return [] if isinstance(kind, GraphQLList) else call
        if info.field_name in {"id", "sync"} and parent is not None:
            # By identity: two chains of a hundred equal calls, as of the same files, are deep to compare.
            return str(next(number for number, made in enumerate(self.calls) if made is parent))
        self.calls.append(call)
        if isinstance(kind, GraphQLList):
            return list(self.tags) if info.field_name == "tags" else []
        if info.field_name == "contents" and parent is not None:
            return self.files.get(call.parent_path, "text")
        if info.field_name == "imageRef" and parent is not None:
            return self._image_reference(str(parent.arguments["address"]))
        if info.field_name == "export":
            shutil.copytree(PROJECT / call.parent_path, arguments["path"])
        return SCALARS.get(named.name, "text")


class RefusedError(Exception):
    """What a test has the engine answer instead of a result; not a fault of the query."""


class Server(ThreadingHTTPServer):
    """A server at which more clients may wait than the five that the standard library has it accept."""

    request_queue_size = 256


@contextmanager
def serving(files: Mapping[str, str], **settings: Any) -> Iterator[Api]:
    """Serve the API to whoever connects to Dagger from this process, and fail if a query was not a valid one."""
    api = Api(files, **settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.dumps(api.answer(json.loads(self.rfile.read(length)))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            """Say nothing."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        session = {"DAGGER_SESSION_PORT": str(server.server_port), "DAGGER_SESSION_TOKEN": "token"}
        try:
            with mock.patch.dict(os.environ, session):
                yield api
        finally:
            server.shutdown()
            thread.join()
    assert api.errors == []
    assert api.texts
