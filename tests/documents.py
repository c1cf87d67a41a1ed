"""Documents for other tools, held against their own specifications: SARIF, OpenVEX and in-toto statements.

Each function raises when a document is not valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.message import Message
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from vexipy.document import Document

from pipeline.programs.schemas import validate
from pipeline.programs.sign.release_index import AboutProduct, AboutSource, ReleaseIndex

PROJECT = Path(__file__).resolve().parents[1]
SCHEMAS = PROJECT / "packaging" / "schemas"
VULNS = PROJECT / "tests" / "data" / "in-toto" / "vulns-v0.2.descriptor.json"


def example_index() -> ReleaseIndex:
    """Return what is said of a release before its artifacts are known."""
    source = AboutSource(
        url="https://git.test/weed",
        ref="3.68",
        commit="a9cd9b0",
        tree="git-tree:" + "a" * 40,
        epoch=1717992646,
        verified=True,
        dirty=False,
    )
    return ReleaseIndex(AboutProduct("weed", "Weed"), "3.68", snapshot=False, source=source, artifacts=())


def check_sarif(document: dict[str, Any]) -> None:
    """Validate a SARIF 2.1.0 log against the schema of OASIS."""
    validate(document, SCHEMAS, "sarif-schema-2.1.0.json")


def check_openvex(document: dict[str, Any]) -> None:
    """Parse an OpenVEX 0.2.0 document with vexipy.

    vexipy ignores what it does not know, and takes a document without statements, which OpenVEX's schema refuses
    (`minItems`, and `additionalProperties` of every object).
    """
    read = Document.model_validate(document).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert _plain(read) == _plain(document)
    assert document["statements"]


def _plain(value: Any) -> Any:
    """Return `value` with times as OpenVEX documents here write them, so that two of them can be compared."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.removesuffix("Z").removesuffix("+00:00") if isinstance(value, str) else value


def check_statement(document: dict[str, Any]) -> None:
    """Read an in-toto statement with in-toto's own library, and its predicate as the message of its type."""
    message = json_format.ParseDict(document, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    predicate = json_format.ParseDict(document["predicate"], _predicate(document["predicateType"]))
    assert json_format.MessageToDict(predicate) == {key: value for key, value in document["predicate"].items() if value}


def _predicate(kind: str) -> Message:
    if kind == "https://in-toto.io/attestation/test-result/v0.1":
        made: Message = test_result_pb2.TestResult()
        return made
    assert kind == "https://in-toto.io/attestation/vulns/v0.2", f"no message is known for {kind}"
    return _vulns()()


@cache
def _vulns() -> type[Message]:
    pool = descriptor_pool.Default()
    described = json_format.Parse(VULNS.read_text(encoding="utf-8"), descriptor_pb2.FileDescriptorProto())
    loaded = {module.DESCRIPTOR.name for module in (struct_pb2, timestamp_pb2)}
    assert set(described.dependency) == loaded, "importing their modules puts them into the pool"
    pool.AddSerializedFile(described.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{described.package}.Vulns"))
