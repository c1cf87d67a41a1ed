"""The graph of a release as a value: what feeds what, and what a change touches. Nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.policy import load_policy
from pipeline.config.product import load_product
from pipeline.config.toolchain import Toolchain
from pipeline.errors import UsageError
from pipeline.model.artifact import Kind
from pipeline.model.graph import predecessors, steps_of
from pipeline.model.image import Base, Image
from pipeline.model.source import Source
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Files, Given
from pipeline.model.version import parse_tag
from pipeline.programs.build.proof import FipsModule
from pipeline.programs.scan.scan_documents import Verdict
from pipeline.release.plan import Release, plan
from pipeline.run.choice import gate_closed
from pipeline.stages.context import Context, Databases, Options
from pipeline.stages.package import load_packaging

PRODUCTS = Path(__file__).resolve().parents[2] / "packaging" / "products"
SCANNERS = ("govulncheck", "grype", "trivy")
PACKAGING = ("deb ", "rpm ", "source rpm ", "contents of ", "sbom of ")
PACKAGING_FILES = load_packaging(PRODUCTS / "example", load_product(PRODUCTS / "example"))
SCHEMAS = Files.of({"bom-1.6.schema.json": "{}"})


def context(**options: object) -> Context:
    base = Base("root", "sha256:1")
    names = ("deb-ubuntu22.04", "debian", "go", "govulncheck", "grype", "rpm-ol8", "rpm-ol9", "sbom", "syft", "trivy")
    return Context(
        product=load_product(PRODUCTS / "example"),
        version=parse_tag("v1.2.3"),
        source=Source(identity="git-tree:" + "a" * 40, revision="c" * 40, epoch=1_700_000_000, go_directive="1.24"),
        policy=load_policy(PRODUCTS / "example" / "policy.toml"),
        toolchain=Toolchain(version="1.24.13", sum="h1:x", reason="go.mod says `go 1.24`"),
        images={name: Image(name, replace(base, content=f"sha256:{name}")) for name in names},
        options=Options(
            databases=Databases.ADVISORIES,
            signing_fingerprint="F" * 40,
            **options,  # type: ignore[arg-type]
        ),
        given={"advisories": Given("advisories", "sha256:5")},
        packaging=PACKAGING_FILES,
        schemas=SCHEMAS,
    )


def made(c: Context | None = None) -> Release:
    return plan(c or context())


def titles(release: Release) -> dict[str, Step]:
    steps = list(steps_of(release.tree))
    by_title = {step.title: step for step in steps}
    assert len(by_title) == len(steps), "titles tell steps apart"
    return by_title


def changed(before: Release, after: Release) -> set[str]:
    known = set(steps_of(before.tree))
    return {step.title for step in steps_of(after.tree) if step not in known}


def test_only_what_is_pinned_or_a_feed_may_use_the_network() -> None:
    assert {title for title, step in titles(made()).items() if step.network} == {"go modules"}
    feed = replace(context(), options=replace(context().options, databases=Databases.FEED))
    online = {title for title, step in titles(made(feed)).items() if step.network}
    feeds = {f"{scanner} database from its feed" for scanner in ("govulncheck", "grype", "trivy")}
    assert online == {"go modules", *feeds}


def test_a_scanner_without_a_database_does_not_run_and_the_gate_is_told_why() -> None:
    feed = replace(context(), options=replace(context().options, databases=Databases.FEED))
    steps = titles(made(replace(feed, missing={"trivy": "no route", "govulncheck": "no route"})))
    assert not any(title.startswith(("trivy", "govulncheck")) for title in steps)
    assert {title for title in steps if title.startswith("grype ")} > {"grype database from its feed"}
    own = dict(dict(steps["verdict"].inputs)["program"].entries)["params.json"]  # type: ignore[union-attr]
    assert json.loads(own.content)["missing"] == {"trivy": "no route", "govulncheck": "no route"}


def test_a_closed_gate_says_what_to_do_about_findings_and_about_databases() -> None:
    findings, gaps = [f"high: CVE-{number}" for number in range(20)], ["trivy: its database of 2026-01-01 is old"]
    for reasons in (findings, gaps, findings + gaps):
        unproved = tuple(gap for gap in gaps if gap in reasons)
        verdict = Verdict(False, tuple(reasons), (), unproved, "example", "1.2.3", False, ())
        error = gate_closed(context(), verdict, "dist/1.2.3-rejected")
        assert ("accept a finding in the policy" in error.resolution) == (findings[0] in reasons)
        assert ("`database_max_age_days` is" in error.resolution) == (gaps[0] in reasons)
        assert (f"  {gaps[0]}" in error.details) == (gaps[0] in reasons), "many findings do not hide it"


def test_a_boringcrypto_binary_says_its_go_version_in_the_form_that_scanners_read() -> None:
    for version, said in (("1.25.14", False), ("1.26.11", True), ("1.27.4", True)):
        c = replace(context(), toolchain=Toolchain(version=version, sum="h1:x", reason="x"))
        steps = {title: " ".join(step.argv) for title, step in titles(made(c)).items() if title.startswith("build ")}
        for title, argv in steps.items():
            assert (f"'-X=runtime.buildVersion=go{version} X:boringcrypto'" in argv) == (said and "fips" in title)


def test_a_large_binary_may_take_hours_to_compile_on_a_busy_machine() -> None:
    steps = titles(made())
    assert {step.timeout for title, step in steps.items() if title.startswith("build ")} == {4 * 3600}


def test_the_index_says_which_key_signs_and_whether_it_is_for_shipping() -> None:
    for development in (False, True):
        step = titles(made(context(signing_development=development)))["index and checksums"]
        own = dict(dict(step.inputs)["program"].entries)["params.json"]  # type: ignore[union-attr]
        assert json.loads(own.content)["release"]["signing"] == {"development": development, "fingerprint": "F" * 40}


def test_a_vendored_source_needs_no_network_at_all() -> None:
    vendored = replace(context(), source=replace(context().source, vendored=True))
    steps = titles(made(vendored))
    assert not any(step.network for step in steps.values())
    flags = {dict(step.env)["GOFLAGS"] for title, step in steps.items() if title.startswith("build ")}
    assert flags == {"-mod=vendor"}


def test_only_signing_sees_the_key() -> None:
    assert {title for title, step in titles(made()).items() if step.secrets} == {"sign", "sign rpms"}


def test_nothing_is_indexed_or_signed_before_the_gate() -> None:
    steps = titles(made())
    assert steps["gate"] in predecessors(steps["index and checksums"])
    assert steps["index and checksums"] in predecessors(steps["sign"])


def test_every_artifact_is_scanned_proved_and_described() -> None:
    release = made()
    subjects = {(artifact.kind.value, artifact.subject) for artifact in release.artifacts if artifact.subject}
    for binary in release.binaries:
        kinds = {"archive", "notice", "package", "proof", "sbom"}
        assert {kind for kind, subject in subjects if subject == binary.name} == kinds
        assert {f"grype {binary.label}", f"trivy {binary.label}"} <= set(titles(release))
    assert len({artifact.name for artifact in release.artifacts}) == len(release.artifacts)


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (lambda c: replace(c, options=replace(c.options, signing_fingerprint="A" * 40)), {"sign"}),
        (lambda c: replace(c, given={"advisories": Given("advisories", "sha256:6")}), {*SCANNERS, "verdict"}),
    ],
    ids=["another key", "other advisories"],
)
def test_a_change_touches_only_what_is_downstream(change: Callable[[Context], Context], touched: set[str]) -> None:
    downstream = {"verdict", "scan reports", "gate", "index and checksums", "sign rpms", "sign"}
    found = changed(made(), made(change(context())))
    assert touched <= {title.split(" ")[0] for title in found}
    assert not any(title.startswith(("build", "prove", "sbom linux", "syft", "go modules")) for title in found)
    assert {title for title in found if not title.startswith((*SCANNERS, *PACKAGING))} <= downstream


def test_other_schemas_touch_only_the_sboms_the_reports_and_what_lists_them() -> None:
    found = changed(made(), made(replace(context(), schemas=Files.of({"other.json": "{}"}))))
    assert {title.split(" ")[0] for title in found} == {
        "sbom", "scan", "archive", "deb", "source", "rpm", "contents", "index", "sign",
    }  # fmt: skip


def test_another_packaging_file_touches_archives_packages_and_the_judgement_of_their_units_only() -> None:
    c = context()
    changed_files = replace(c, packaging=with_file(c.packaging, "config/weed.conf", b"MASTER_INSTANCES=3\n"))
    found = changed(made(), made(changed_files))
    assert {title.split(" ")[0] for title in found} == {
        "archive", "exposure", "deb", "source", "rpm", "contents", "sbom", "index", "sign",
    }  # fmt: skip
    assert not any(title.endswith(" selinux") or title.startswith("sbom linux") for title in found)


def test_the_selinux_module_touches_its_own_packages_only() -> None:
    c = context()
    found = changed(made(), made(replace(c, packaging=with_file(c.packaging, "selinux/weed.te", b"other\n"))))
    packages = {
        f"{what}rpm {ol} selinux" for what in ("", "source ", "contents of ", "sbom of ") for ol in ("ol8", "ol9")
    }
    assert found == packages | {"sign rpms", "index and checksums", "sign"}


def with_file(files: Files, path: str, content: bytes) -> Files:
    """Return `files` with another content of one of them."""
    assert path in dict(files.entries)
    return Files.of({**dict(files.entries), path: content})


def test_the_commit_and_its_time_are_no_part_of_the_module_download() -> None:
    step = titles(made())["go modules"]
    later = replace(context(), source=replace(context().source, revision="d" * 40, epoch=1_800_000_000))
    assert titles(made(later))["go modules"] == step


def test_fips_variants_are_built_as_asked() -> None:
    boring = dict(titles(made())["build linux-arm64 fips"].env)
    assert (boring["GOEXPERIMENT"], boring["CGO_ENABLED"]) == ("boringcrypto", "1")
    assert boring["CC"] == "aarch64-linux-gnu-gcc"
    native = dict(titles(made(context(fips_module=FipsModule.GO)))["build linux-arm64 fips"].env)
    assert (native["GOFIPS140"], native["CGO_ENABLED"]) == ("v1.0.0", "0")
    standard = dict(titles(made())["build linux-arm64 standard"].env)
    assert not {"GOEXPERIMENT", "GOFIPS140"} & set(standard)


def test_only_fips_variants_are_probed_and_with_the_settings_of_their_compiler() -> None:
    steps = titles(made())
    probes = {title: step for title, step in steps.items() if title.startswith("ask the FIPS module ")}
    assert sorted(probes) == [f"ask the FIPS module linux-{arch} fips" for arch in ("amd64", "arm64")]
    for title, step in probes.items():
        build = dict(steps[title.replace("ask the FIPS module", "build")].env)
        ours = dict(step.env)
        same = ("GOARCH", "GOEXPERIMENT", "CGO_ENABLED", "GOPROXY")
        assert {name: ours.get(name) for name in same} == {name: build.get(name) for name in same}
        assert (step.network, step.caching) == (False, Caching.BY_DIGEST)


def test_gos_own_fips_module_is_unpacked_with_the_modules_which_are_read_only_afterwards() -> None:
    assert dict(titles(made(context(fips_module=FipsModule.GO)))["go modules"].env)["GOFIPS140"] == "v1.0.0"
    assert "GOFIPS140" not in dict(titles(made())["go modules"].env)


def test_compilers_have_no_network_and_no_proxy() -> None:
    for title, step in titles(made()).items():
        if title.startswith("build "):
            assert (step.network, step.caching) == (False, Caching.BY_DIGEST)
            assert dict(step.env)["GOPROXY"] == "off"


def test_a_target_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="linux/riscv64") as caught:
        made(context(targets=("linux/riscv64",)))
    assert "linux/arm64" in caught.value.resolution


PREBUILT = "example-1.2.3-linux-arm64"


def test_a_prebuilt_binary_changes_nothing_in_the_graph_and_is_taken_for_the_output_of_its_step() -> None:
    leg = Given("leg-0", "sha256:7")
    release = made(replace(context(), prebuilt={PREBUILT: leg, f"{PREBUILT}.proof.json": leg}))
    assert release.tree == made().tree
    assert release.prebuilt.keys() == {titles(made())["build linux-arm64 standard"].digest}
    ran = {step.title for step in steps_of(release.tree, release.prebuilt)}
    assert {"take over example-1.2.3-linux-arm64", "prove linux-arm64 standard", "build linux-arm64 fips"} <= ran
    every = {PREBUILT: leg, **{f"example-1.2.3-linux-{rest}": leg for rest in ("arm64-fips", "amd64", "amd64-fips")}}
    release = made(replace(context(), prebuilt=every))
    ran = {step.title for step in steps_of(release.tree, release.prebuilt)}
    assert sum(title.startswith("take over ") for title in ran) == 4


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["example-1.2.4-linux-arm64"], "does not make: example-1.2.4-linux-arm64"),
        ([PREBUILT, "other"], "does not make: other"),
        ([f"{PREBUILT}.proof.json"], "has no binary of this release"),
    ],
)
def test_what_is_not_of_this_release_is_not_taken_from_another_machine(names: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        made(replace(context(), prebuilt=dict.fromkeys(names, Given("leg-0", "sha256:7"))))
    assert "example-1.2.3-linux-amd64-fips" in (caught.value.details or "")


def test_the_index_names_the_steps_of_this_graph_and_no_others() -> None:
    release = made()
    own = dict(dict(titles(release)["index and checksums"].inputs)["program"].entries)["params.json"]  # type: ignore[union-attr]
    told = json.loads(own.content)
    steps = {step.digest: step.title for step in steps_of(release.tree)}
    assert {entry["step"]: entry["step_title"] for entry in told["described"]}.items() <= steps.items()
    assert {layer["step"] for image in told["release"]["images"] for layer in image["layers"]} <= steps.keys()


def test_feeds_are_fetched_and_verdicts_are_made_once_a_day_and_nothing_else_is() -> None:
    feed = replace(context(), options=replace(context().options, databases=Databases.FEED))
    daily = {title.split(" ")[0] for title, step in titles(made(feed)).items() if step.caching is Caching.DAILY}
    assert daily == {"govulncheck", "grype", "trivy", "verdict"}
    assert titles(made(feed))["govulncheck"].caching is Caching.BY_DIGEST
    assert not any(step.caching is Caching.NEVER for step in titles(made(feed)).values())


def test_the_same_values_give_the_same_graph() -> None:
    assert made().tree == made().tree


def test_the_notes_find_a_binary_for_every_proof() -> None:
    release = made(context(require_openssl_fips=True))
    names = {artifact.name for artifact in release.binaries}
    assert {artifact.subject for artifact in release.artifacts if artifact.kind is Kind.PROOF} == names
    assert [artifact.name for artifact in release.artifacts if artifact.kind is Kind.REPORT] == ["openssl-fips.json"]
