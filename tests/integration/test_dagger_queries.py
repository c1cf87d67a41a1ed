"""What the Dagger engine and the module ask of Dagger's API: every query is valid, and says what it should."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import dagger
import pytest
from dagger.client._connection import _shared
from dagger.mod._exceptions import FunctionError

from pipeline.config.images import load_images
from pipeline.dagger_module.pipeline import Pipeline
from pipeline.engine.base import Event, What
from pipeline.engine.dagger import step as dagger_step
from pipeline.engine.dagger.engine import DaggerEngine
from pipeline.errors import EngineError, ImageError
from pipeline.host.folders import packaging_folder
from pipeline.images.catalog import Catalog
from pipeline.images.exported import Exported
from pipeline.images.lock import load_lock
from pipeline.model.image import Base, Image
from pipeline.model.step import WORK, Cache, Caching, ExitCode, Step
from pipeline.model.tree import Files, Given, Merge, Pick
from pipeline.programs import document
from pipeline.programs.scan.scan_documents import Verdict
from pipeline.programs.source.checkout import Checkout, FoundSource
from tests.dagger_api import Api, Call, serving

ARCHIVED = Base("archived", "sha256:archived")
PULLED = Base("pulled", "sha256:pulled", reference="debian@sha256:1", manager="apt", packages=("git",))
FEDORA = Base("fedora", "sha256:fedora", reference="fedora@sha256:2", manager="dnf", packages=("git",))
TOOLCHAIN = Step(
    title="toolchain", image=Image("bootstrap", ARCHIVED), argv=("fetch",), network=True, outputs=("bin/go",)
)
BUILDER = Image("go", ARCHIVED, (("/usr/local/go", TOOLCHAIN.out),))
FOUND = FoundSource(
    tree="a" * 40, revision="1" * 40, ref="", epoch=1_700_000_000, verified=False, snapshot=False, dirty=False,
    go_mod="module example.org/weed\n\ngo 1.24\n",
)  # fmt: skip
SPECS = load_images(packaging_folder()).images
IMAGES = {name: {"archive": "root.tar", "content": "sha256:root", "stands_in_for": ""} for name in SPECS}
TABLES = [table for spec in SPECS.values() for table in spec.needs.values()]
HAVE = "\n".join(sorted({need for table in TABLES for need in table}))
"""What an image answers that has everything."""


def verdict(*reasons: str, warnings: tuple[str, ...] = ()) -> str:
    """Return a verdict.json: an open gate without reasons."""
    return json.dumps(document.plain(Verdict(not reasons, reasons, warnings, (), "example", "1.2.3", False, ())))


FILES = {
    "/out/found": HAVE.replace("|", "\n"),
    "images.json": json.dumps(IMAGES),
    "source.json": json.dumps(document.plain(Checkout(FOUND))),
    "key.json": json.dumps({"fingerprint": "F" * 40, "user_id": "", "algorithm": 1, "created": 0, "expires": 0}),
    "verdict.json": verdict(),
    "verification.json": json.dumps(
        {
            "problems": [],
            "product": "example",
            "version": "1.2.3",
            "files": 7,
            "signed_by": ["F"],
            "key_is_pinned": True,
        }
    ),
}


def ask(work: Callable[[dagger.Client], Awaitable[Any]], **files: str) -> tuple[Api, Any]:
    """Return the server after `work` with a client of it, and what `work` returned."""

    async def connected() -> Any:
        async with dagger.Connection(dagger.Config()) as client:
            return await work(client)

    with serving({**FILES, **{name.replace("_", "."): text for name, text in files.items()}}) as api:
        return api, anyio.run(connected)


def call(
    work: Callable[[], Awaitable[Any]], settings: Mapping[str, Any] | None = None, **files: str
) -> tuple[Api, Any]:
    """Return the same for a function of the module, which has a connection that all share."""

    async def connected() -> Any:
        _shared._params = None  # those of the server of an earlier test
        async with await dagger.connect():
            return await work()

    given = {"files": {**FILES, **{name.replace("_", "."): text for name, text in files.items()}}, **(settings or {})}
    with serving(**given) as api:
        return api, anyio.run(connected)


def evaluate(tree: Any, prebuilt: Mapping[str, Any] | None = None) -> Api:
    async def work(client: dagger.Client) -> None:
        engine = DaggerEngine(client, BUILDER, archives={ARCHIVED.content: client.host().file("root.tar")})
        given = {"outside": client.host().directory("given")}
        await engine.evaluate(tree, given=given, secrets={"key": client.secret("env://THE_KEY")}, prebuilt=prebuilt)

    return ask(work)[0]


def execution(api: Api, program: str) -> Call:
    (found,) = {
        (call.arguments["args"][0], call.arguments["args"][1:2] == [program]): call
        for call in api.named("withExec")
        if program in call.arguments["args"][:2]
    }.values()
    return found


def spec_of(call: Call) -> dict[str, Any]:
    """Return what `seal` is told in the chain of an execution."""
    (mount,) = [c for c in call.chain if c.arguments.get("path") == dagger_step.SPECIFICATION]
    return dict(mount.arguments)


def test_every_kind_of_tree_and_step_is_a_valid_query() -> None:
    fetched = Step(title="fetch", image=BUILDER, argv=("download",), network=True, outputs=("x",))
    pure = Step(
        title="pure",
        image=Image("image", PULLED, (("/opt/tool", Files.of({"tool": "x"})),)),
        argv=("compile", "a b", "$HOME"),
        inputs=(
            ("both", Merge.of(fetched.out, ("below", Files.of({"f": "text"})))),
            ("part", Pick(Given("outside", "test:1"), paths=("a[1]",), root="top", optional=("b",))),
        ),
        env=(("NAME", "value"),),
        caches=(Cache(f"{WORK}/cache", "cache"),),
        exit_code=ExitCode.IS_DATA,
    )
    secret = Step(title="secret", image=Image("other", FEDORA), argv=("use",), secrets=("key",), caching=Caching.NEVER)
    api = evaluate(Merge.of(("one", pure.out), ("two", secret.out)))
    sealed = execution(api, "compile")
    assert sealed.arguments["args"] == [dagger_step.SEAL, "compile", "a b", "$HOME"]
    assert sealed.arguments["insecureRootCapabilities"] is True
    assert not sealed.arguments.get("expand", False)
    assert not execution(api, "download").arguments.get("insecureRootCapabilities", False)
    assert execution(api, "fetch").arguments["args"] == ["fetch"]
    mounts = {c.arguments["path"]: c for c in sealed.chain if c.name == "withMountedDirectory"}
    below_its_cache = mounts.pop("/work")
    assert not below_its_cache.arguments.get("readOnly", False)
    assert sorted(mounts) == ["/in/both", "/in/part", "/opt/tool"]
    assert all(mount.arguments["readOnly"] for mount in mounts.values())
    (mounted,) = [c for c in execution(api, "use").chain if c.name == "withMountedSecret"]
    assert (mounted.arguments["path"], mounted.arguments["mode"]) == ("/run/secrets/key", 0o400)
    assert ["apt-get", "install"] in [c.arguments["args"][:2] for c in api.named("withExec")]
    assert ["dnf", "install"] in [c.arguments["args"][:2] for c in api.named("withExec")]
    (picked,) = [c for c in api.named("withDirectory") if c.arguments.get("include")]
    assert picked.arguments["include"] == ["a\\[1\\]", "b"]


def test_a_step_that_is_never_cached_differs_from_run_to_run() -> None:
    step = Step(title="t", image=BUILDER, argv=("use",), secrets=("key",), caching=Caching.NEVER)
    pure = Step(title="t", image=BUILDER, argv=("use",))
    runs = [json.loads(dagger_step.specification(step, {}, "", nonce))["run"] for nonce in ("1", "2")]
    assert runs == ["1", "2"]
    assert dagger_step.specification(pure, {"GOPROXY": "x"}, "2026-01-01", "1") == dagger_step.specification(
        pure, {}, "2026-01-02", "2"
    )


def test_a_daily_step_differs_from_day_to_day_and_is_told_the_day() -> None:
    daily = Step(title="t", image=BUILDER, argv=("use",), caching=Caching.DAILY)
    days = [json.loads(dagger_step.specification(daily, {}, day, "1")) for day in ("2026-01-01", "2026-01-02")]
    assert [day["env"]["TODAY"] for day in days] == ["2026-01-01", "2026-01-02"]
    assert {day["run"] for day in days} == {""}
    with pytest.raises(EngineError, match="was not told the date"):
        dagger_step.specification(daily, {}, "", "1")


def test_an_output_from_elsewhere_takes_the_place_of_its_step_and_of_what_only_that_needs() -> None:
    source = Step(title="source", image=BUILDER, argv=("fetch-source",), network=True)
    build = Step(title="build", image=BUILDER, argv=("build",), inputs=(("s", source.out),), outputs=("program",))
    taken = Step(title="take", image=BUILDER, argv=("take",), inputs=(("leg", Given("outside", "test:1")),))
    scan = Step(title="scan", image=BUILDER, argv=("scan",), inputs=(("program", build.out),))
    api = evaluate(scan.out, {build.digest: taken.out})
    ran = [call.arguments["args"][-1] for call in api.named("withExec")]
    assert {"take", "scan"} <= {*ran}
    assert not {"build", "fetch-source"} & {*ran}
    (mounted,) = {c.arguments["path"] for c in execution(api, "scan").chain if "/in/" in str(c.arguments.get("path"))}
    assert mounted == "/in/program"


def test_a_root_that_no_archive_holds_and_no_registry_has_is_an_error() -> None:
    with pytest.raises(ImageError, match="no image for lost"):
        evaluate(Step(title="t", image=Image("lost", Base("lost", "sha256:lost")), argv=("x",)).out)


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(EngineError, match="x is not UTF-8"):
        evaluate(Files.of({"x": b"\xff\xfe"}))


def test_no_more_steps_run_at_once_than_are_allowed() -> None:
    steps = [Step(title=f"step {number}", image=BUILDER, argv=("run", str(number))) for number in range(6)]
    events: list[Event] = []

    async def work(client: dagger.Client) -> None:
        archives = {ARCHIVED.content: client.host().file("root.tar")}
        engine = DaggerEngine(client, BUILDER, archives=archives, observer=events.append, jobs=2)
        await engine.evaluate(Merge.of(*((str(number), step.out) for number, step in enumerate(steps))))

    ask(work)
    running = [0]
    for event in events:
        running.append(running[-1] + {What.STARTED: 1, What.FINISHED: -1}.get(event.what, 0))
    assert max(running) == 2
    assert sum(event.what is What.FINISHED for event in events) == len(steps) + 1


ARGUMENTS: dict[str, Any] = {"tag": "v1.2.3", "product": "example", "commit": "1" * 40}
SMALL: dict[str, Any] = {**ARGUMENTS, "target": ["linux/amd64"], "variant": ["standard"]}


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        *(("release", True), ("release", False), ("build", False), ("sbom", True), ("scan", False), ("package", False)),
        *(("plan", True), ("plan", False), ("graph", True)),
    ],
)
def test_every_function_asks_valid_queries(verb: str, given: bool) -> None:
    async def work() -> Any:
        client = dagger.dag
        arguments = {**ARGUMENTS, "images": client.address("images").directory()}
        if verb != "plan":
            arguments |= {"target": ["linux/amd64"], "variant": ["standard"]}
        arguments["source"] = client.address("source").directory() if given else None
        if verb == "release" and given:
            arguments["signing_key"] = client.secret("env://THE_KEY")
        return await getattr(Pipeline(), verb)(**arguments)

    api, result = call(work)
    assert len(api.named("withExec")) > 1 or verb in {"plan", "graph"}
    if verb == "plan":
        assert "sign" in result
        assert result == expected_plan()
    if verb == "release":
        assert ("withMountedSecret" in {c.name for c in api.calls}) is given
    assert api.named("plaintext") == []


def test_settings_of_the_module_reach_the_steps() -> None:
    async def work() -> Any:
        client = dagger.dag
        arguments = SMALL
        settings = {"go_proxy": "https://goproxy.example.org", "source_date_epoch": "1700000001"}
        module = Pipeline(**settings)
        await module.build(**arguments, source=client.address("s").directory(), images=client.address("i").directory())

    api, _ = call(work)
    specs = [str(c.arguments["contents"]) for c in api.calls if c.arguments.get("name") == "step.json"]
    networks = {json.loads(spec)["isolate"]: json.loads(spec)["env"].get("GOPROXY") for spec in specs}
    assert networks[False] == "https://goproxy.example.org"
    assert networks[True] in {None, "off"}
    parameters = [c.arguments["contents"] for c in api.named("withNewFile") if c.arguments["path"] == "params.json"]
    (epoch,) = {found["epoch"] for found in map(json.loads, parameters) if "attributes" in found}
    assert epoch == 1_700_000_001


@pytest.mark.parametrize("tag", ["v3.68", "3.69"])
def test_without_a_source_the_products_own_repository_is_cloned_at_the_tag(tag: str) -> None:
    async def work() -> Any:
        return await Pipeline().plan(tag=tag, images=dagger.dag.address("images").directory())

    api, _ = call(work)
    (cloned,) = {c.arguments["url"] for c in api.named("git")}
    assert cloned == "https://github.com/seaweedfs/seaweedfs.git"
    assert {c.arguments["name"] for c in api.named("tag")} == {tag.removeprefix("v")}
    assert {c.arguments["depth"] for c in api.named("tree")} == {1}


def test_a_product_of_the_modules_own_repository_is_read_with_its_git_folder() -> None:
    async def work() -> Any:
        client = dagger.dag
        folders = {name: client.address(name).directory() for name in ("repository", "images")}
        return await Pipeline().plan(tag="v1.2.3", product="example", **folders)

    api, _ = call(work)
    (looked,) = {(c.arguments["path"], c.arguments["expectedType"]) for c in api.named("exists") if ".git" in str(c)}
    assert looked[0] == ".git"
    (laid,) = {c.arguments["path"]: c for c in api.named("withDirectory") if c.arguments["path"] == "examples/weed"}
    assert laid == "examples/weed"


def test_a_tag_that_the_products_repository_lacks_is_an_error() -> None:
    async def work() -> Any:
        return await Pipeline().plan(tag="v3.70", images=dagger.dag.address("images").directory())

    with pytest.raises(FunctionError, match=r"3\.70") as caught:
        call(work)
    assert caught.value.extra == {"exit_code": 3}


def test_signing_and_verifying_ask_valid_queries() -> None:
    async def work() -> Any:
        folder, images = dagger.dag.address("release").directory(), dagger.dag.address("images").directory()
        await Pipeline().sign(artifacts=folder, signing_key=dagger.dag.secret("env://THE_KEY"), images=images)
        return await Pipeline().verify(release=folder, key=folder.file("key"), fingerprint="F" * 40, images=images)

    api, said = call(work)
    assert said == "example 1.2.3: 7 files check out, signed by F\n"
    mounted = api.named("withMountedSecret")
    assert {c.arguments["path"] for c in mounted} == {"/run/secrets/signing-key"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"tag": "v1;rm -rf"}, 3, "'v1;rm -rf'"),
        ({"product": "nothing"}, 2, "nothing"),
        ({"commit": "abc"}, 5, "What to do: give all 40 digits"),
        ({"target": ["plan9/mips"]}, 2, "choose among: linux/amd64"),
    ],
)
def test_an_error_for_people_is_its_text_and_its_exit_code(arguments: dict[str, Any], code: int, text: str) -> None:
    async def work() -> Any:
        return await Pipeline().plan(**{**ARGUMENTS, **arguments}, images=dagger.dag.address("images").directory())

    with pytest.raises(FunctionError) as caught:
        call(work)
    assert text in str(caught.value)
    assert caught.value.extra == {"exit_code": code}
    assert caught.value.__suppress_context__


def test_a_closed_gate_fails_the_release_with_its_reasons() -> None:
    async def work() -> Any:
        return await Pipeline().release(**SMALL, images=dagger.dag.address("images").directory())

    with pytest.raises(FunctionError, match="CVE-1 is CRITICAL") as caught:
        call(work, verdict_json=verdict("CVE-1 is CRITICAL"))
    assert caught.value.extra == {"exit_code": 8}


def test_what_the_gate_warns_of_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> Any:
        await Pipeline().scan(**SMALL, images=dagger.dag.address("images").directory())

    call(work, verdict_json=verdict(warnings=("grype: it has no database",)))
    assert "gate: grype: it has no database\n" in capsys.readouterr().err


LOCK = load_lock(packaging_folder() / "images.lock")
LOCKED = {f"{entry.reference}@{entry.digest}": entry.digest for entry in LOCK.entries}
MOVED = {name.partition("@")[0]: "sha256:" + "d" * 64 for name in LOCKED}


def built(settings: Mapping[str, Any], **module: Any) -> tuple[Api, Any]:
    """Return what building asks of an engine that has the images of registries."""

    async def work() -> Any:
        return await Pipeline(**module).build(**ARGUMENTS, target=["linux/amd64"], variant=["standard"])

    return call(work, settings)


def test_without_a_folder_of_images_they_are_pulled_as_images_lock_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    api, _ = built({"digests": LOCKED}, locked=True)
    assert {c.arguments["address"] for c in api.named("from")} <= LOCKED.keys()
    assert "warning" not in capsys.readouterr().err


def test_a_digest_that_the_registry_lost_is_resolved_with_a_warning_or_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    api, _ = built({"digests": MOVED})
    said = capsys.readouterr().err
    assert said.count("warning: the registry no longer has docker.io/library/debian:trixie-slim@sha256:") == 1
    pulled = [c for c in api.named("from") if c.arguments["address"].endswith("d" * 64)]
    assert "withExec" in {call.name for call in api.calls if pulled[0] in call.chain}
    with pytest.raises(FunctionError, match="--locked refuses"):
        built({"digests": MOVED}, locked=True)


def test_a_registry_that_cannot_be_asked_is_an_error_and_nothing_is_resolved() -> None:
    for refusal in ("unexpected status from HEAD request: 403 Forbidden", "dial tcp: lookup registry: no such host"):
        with pytest.raises(FunctionError, match=r"the Dagger engine cannot get docker\.io/library/debian") as caught:
            built({"refusal": refusal})
        assert caught.value.extra == {"exit_code": 6}


def test_an_image_that_lacks_what_a_step_needs_is_refused_before_anything_runs() -> None:
    async def work() -> Any:
        return await Pipeline().build(**ARGUMENTS, images=dagger.dag.address("images").directory())

    lacking = FILES["/out/found"].replace("git\n", "").replace("python3>=3.9", "python3>=3.6")
    with pytest.raises(FunctionError) as caught:
        call(work, {"files": {**FILES, "/out/found": lacking}})
    assert 'image "debian" has no git, which step "read the source" needs' in str(caught.value)
    assert 'image "debian" has no Python 3.9 or newer as python3' in str(caught.value)
    assert "(it has Python 3.6)" in str(caught.value)
    assert caught.value.extra == {"exit_code": 6}


def expected_plan() -> str:
    """Return the plan that the graph of the same choice has, made without Dagger."""
    from pipeline.config.policy import load_policy
    from pipeline.config.product import load_product
    from pipeline.config.toolchain import wanted
    from pipeline.host.content import digest_of
    from pipeline.images.toolchains import LOCK, load_toolchains
    from pipeline.model.source import Source
    from pipeline.release.drawing import listing
    from pipeline.release.plan import plan
    from pipeline.run.choice import context_of, version_of
    from pipeline.run.request import Request
    from pipeline.stages.package import load_packaging
    from pipeline.stages.sbom import load_schemas

    folder = packaging_folder() / "products" / "example"
    specs, product = load_images(packaging_folder()), load_product(folder)
    roots = {name: Exported.model_validate(entry) for name, entry in IMAGES.items()}
    catalog = Catalog(specs, home=Path("/nonexistent"), pull=True, local=False, exported=roots)
    advisories = digest_of(folder / product.scan.advisories)
    request = Request(product="example", tag="v1.2.3")
    source = Source(
        identity=f"git-tree:{FOUND.tree}", revision="1" * 40, epoch=1_700_000_000,
        module="example.org/weed", go_directive="1.24",
    )  # fmt: skip
    toolchain = load_toolchains(packaging_folder() / LOCK).toolchain(
        wanted(product, version_of(request, product), source)
    )
    assert toolchain is not None
    context = context_of(
        request,
        product,
        source,
        load_policy(folder / "policy.toml"),
        toolchain=toolchain,
        images=catalog.images(toolchain),
        prebuilt={},
        given={"advisories": Given("advisories", advisories)},
        packaging=load_packaging(folder, product),
        schemas=load_schemas(packaging_folder()),
    )  # fmt: skip
    return listing(plan(context))
