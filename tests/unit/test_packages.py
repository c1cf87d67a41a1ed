"""Packages as values: the table of a product, what follows from it, and the files that a package is made from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

from pipeline.config.product import Product, load_product, parse_product
from pipeline.config.template import render_files
from pipeline.errors import ConfigError, UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import DISTRIBUTIONS
from pipeline.model.graph import predecessors, steps_of
from pipeline.model.step import Caching, Step
from pipeline.model.tree import BASE_EPOCH, Files
from pipeline.model.version import parse_tag
from pipeline.programs import common, document
from pipeline.programs.package import deb, package, rpm
from pipeline.programs.scan.scan_documents import Approval, Approved
from pipeline.programs.sign import rpm_sign
from pipeline.release.plan import plan
from pipeline.stages.context import Context
from pipeline.stages.package import load_packaging, rendered
from tests.unit.test_release_graph import PACKAGING, PRODUCTS, context, made, titles

EXAMPLE = (PRODUCTS / "example" / "product.toml").read_text()
TABLE = re.search(r"\[packages\]\n.*?(?=\n\[)", EXAMPLE, re.DOTALL)
assert TABLE is not None


def product(**changes: str) -> Product:
    """Return the example's product with lines of its table `[packages]` changed."""
    assert TABLE is not None
    table = TABLE[0]
    for key, value in changes.items():
        table = re.sub(rf"^{key} = .*$", f"{key} = {value}", table, flags=re.MULTILINE)
    return parse_product(EXAMPLE.replace(TABLE[0], table), where="product.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distributions": '["ubuntu22.4"]'}, "did you mean `ubuntu22.04`"),
        ({"distributions": '["ol8", "ol8"]'}, "named twice"),
        ({"distributions": '["ol8"]'}, "stages has 'deb', but packages.distributions has none"),
        ({"distributions": "[]"}, "at least 1"),
        ({"variants": '["fibs"]'}, "'fibs' is not a variant; allowed: standard, fips"),
        ({"files": '"../../etc"'}, "the folder of another product"),
        ({"files": '"/etc"'}, "the folder of another product"),
        ({"revision": "0"}, "greater than or equal to 1"),
        ({"selinux": '"yes"'}, "boolean"),
        ({"revision": "1\nexposure = 1.25"}, "more than one decimal"),
        ({"revision": "1\nexposure = 11"}, "less than or equal to 10"),
    ],
)
def test_a_mistake_in_the_table_is_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        product(**changes)
    assert message in str(caught.value)


def test_a_stage_without_its_table_is_a_mistake() -> None:
    assert TABLE is not None
    with pytest.raises(ConfigError, match=r"no table \[packages\]"):
        parse_product(EXAMPLE.replace(TABLE[0], ""), where="product.toml")


def test_a_variant_whose_package_could_have_no_such_name_is_a_mistake() -> None:
    text = (PRODUCTS / "seaweedfs" / "product.toml").read_text()
    with pytest.raises(ConfigError, match="cannot be the name of a package"):
        parse_product(text.replace('["standard", "fips"]', '["standard", "large_disk"]'), where="product.toml")


def packages(c: Context) -> dict[str, Artifact]:
    return {artifact.name: artifact for artifact in plan(c).made.of(Kind.PACKAGE, Kind.SOURCE_PACKAGE)}


def test_there_is_a_package_for_every_distribution_architecture_and_flavour() -> None:
    expected = {f"{n}_1.2.3-1~ubuntu22.04.1_{a}.deb" for n in ("example", "example-fips") for a in ("amd64", "arm64")}
    for release in ("el8", "el9"):
        expected |= {
            f"{n}-1.2.3-1.{release}.{a}.rpm" for n in ("example", "example-fips") for a in ("x86_64", "aarch64")
        }
        expected |= {f"{n}-1.2.3-1.{release}.nosrc.rpm" for n in ("example", "example-fips")}
        expected |= {f"example-selinux-1.2.3-1.{release}.{kind}.rpm" for kind in ("noarch", "src")}
    assert set(packages(context())) == expected


def test_a_pre_release_and_a_second_packaging_are_in_the_name() -> None:
    c = replace(context(targets=("linux/amd64",)), product=product(revision="2"), version=parse_tag("v4.07-rc.1"))
    assert "example_4.07~rc.1-2~ubuntu22.04.1_amd64.deb" in packages(c)
    assert "example-4.07~rc.1-2.el9.x86_64.rpm" in packages(c)


def test_a_variant_that_is_not_listed_is_not_packaged() -> None:
    assert not [
        name for name in packages(replace(context(), product=product(variants='["standard"]'))) if "fips" in name
    ]


def test_a_product_without_packages_has_none_and_the_verb_says_so() -> None:
    assert TABLE is not None
    text = EXAMPLE.replace(TABLE[0], "").replace('"deb", "rpm", ', "")
    release = plan(replace(context(), product=parse_product(text, where="product.toml")))
    assert release.made.of(Kind.PACKAGE, Kind.SOURCE_PACKAGE) == ()
    with pytest.raises(UsageError, match="has no stage for `pipeline package`") as caught:
        release.part("package")
    assert "add deb or rpm to `stages`" in caught.value.resolution


def test_nothing_is_packaged_or_signed_before_the_gate() -> None:
    steps = titles(made())
    for title, step in steps.items():
        if title.startswith(("deb ", "rpm ", "sign rpms")) and not title.endswith("selinux"):
            assert steps["gate"] in predecessors(step), title


def test_the_index_is_made_of_signed_rpms() -> None:
    steps = titles(made())
    before = predecessors(steps["index and checksums"])
    assert steps["sign rpms"] in before
    assert not [step.title for step in before if step.title.startswith("rpm ")]
    assert steps["sign rpms"].secrets == ("signing-key",)


def test_a_key_of_one_run_is_in_one_step() -> None:
    steps = titles(made(context(ephemeral_key=True)))
    (last,) = [step for step in steps.values() if step.caching is Caching.NEVER]
    assert "sign rpms" not in steps
    assert not any(step.secrets for step in steps.values())
    assert steps["gate"] in predecessors(last)
    assert {"SHA256SUMS", "release.json", "signing-key.asc", "example-1.2.3-1.el9.aarch64.rpm"} <= set(last.outputs)


def text_of(files: Files, path: str) -> str:
    return dict(files.entries)[path].content.decode()


def made_for(distribution: str, variant: str = "standard", name: str = "example") -> Files:
    """Return the packaging files of a product, filled in for a distribution."""
    chosen = load_product(PRODUCTS / name)
    c = replace(context(), product=chosen, packaging=load_packaging(PRODUCTS / name, chosen))
    return rendered(c, c.packaging, DISTRIBUTIONS[distribution], chosen.variant(variant))


@pytest.mark.parametrize("name", ["example", "seaweedfs"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_template_can_be_filled_in_for_every_product(name: str, distribution: str) -> None:
    files = made_for(distribution, "fips", name)
    assert not [path for path, _ in files.entries if path.endswith(".j2")]
    assert not [path for path, file in files.entries if path.startswith(("deb/", "rpm/")) and b"{%" in file.content]
    assert text_of(files, "release") == f"PRODUCT={name}\nVERSION=1.2.3\nVARIANT=fips\nCOMMIT={'c' * 40}\n"


def test_the_changelogs_say_version_commit_and_the_time_of_the_commit() -> None:
    log = text_of(made_for("ubuntu22.04", "fips"), "deb/changelog")
    assert log.startswith("example-fips (1.2.3-1~ubuntu22.04.1) jammy; urgency=medium\n")
    assert "c" * 40 in log
    assert log.endswith(" -- Release Engineering <releases@example.org>  Tue, 14 Nov 2023 22:13:20 +0000\n")
    spec = text_of(made_for("ol8"), "rpm/weed.spec")
    assert "* Tue Nov 14 2023 Release Engineering <releases@example.org> - 1.2.3-1.el8\n" in spec


def test_a_changelog_without_the_time_of_a_commit_has_one_that_rpm_takes() -> None:
    chosen = load_product(PRODUCTS / "example")
    source = replace(context().source, epoch=BASE_EPOCH)
    c = replace(context(), product=chosen, packaging=load_packaging(PRODUCTS / "example", chosen), source=source)
    spec = text_of(rendered(c, c.packaging, DISTRIBUTIONS["ol8"], chosen.variant("standard")), "rpm/weed.spec")
    assert "* Sat Jan 01 2000 Release Engineering" in spec


def test_the_flavours_exclude_and_stand_for_each_other() -> None:
    control = text_of(made_for("ubuntu22.04", "fips"), "deb/control")
    for field in ("Provides: example (= ${binary:Version})", "Conflicts: example\n", "Replaces: example\n"):
        assert f"\n{field}" in control
    spec = text_of(made_for("ol9"), "rpm/weed.spec")
    assert "Provides:       example-fips = %{version}-%{release}\nConflicts:      example-fips\n" in spec


def test_each_distribution_runs_the_scripts_with_the_python_of_its_system() -> None:
    assert "Requires:       /usr/libexec/platform-python\n" in text_of(made_for("ol8"), "rpm/weed.spec")
    assert "PYTHON=/usr/libexec/platform-python\n" in text_of(made_for("ol8"), "rpm/weed.spec")
    assert "Requires:       python3\n" in text_of(made_for("ol9"), "rpm/weed.spec")


@pytest.mark.parametrize("distribution", ["ol8", "ol9"])
def test_the_spec_lists_each_file_once_and_requires_what_its_scriptlets_run(distribution: str) -> None:
    spec = text_of(made_for(distribution), "rpm/weed.spec")
    paths = [line.split()[-1] for line in spec.partition("%files\n")[2].partition("%changelog")[0].splitlines() if line]
    assert len(paths) == len(set(paths)) > 20
    required = set(re.findall(r"^Requires\((\w+)\):\s+(\S+)$", spec, re.MULTILINE))
    packages = {"awk": "gawk", "grep": "grep", "sed": "sed", "findmnt": "util-linux", "useradd": "shadow-utils"}
    packages |= {
        "tail": "coreutils",
        "ls": "coreutils",
        "rmdir": "coreutils",
        "find": "findutils",
        "systemctl": "systemd",
    }
    for name in ("pre", "post", "preun", "postun"):
        script = spec.partition(f"\n%{name}\n")[2].partition("\n%")[0]
        words = set(re.findall(r"(?:^|[|&({!;] ?|then |do |if )\s*(?:LC_ALL=C )?(\w+)\b", script, re.MULTILINE))
        lacking = {word for word in words & set(packages) if (name, packages[word]) not in required}
        assert not lacking, f"%{name} runs {lacking}"


def test_nothing_that_is_no_packaging_file_is_read() -> None:
    paths = {path for path, _ in context().packaging.entries}
    assert "Makefile" in paths
    assert not [path for path in paths if path.endswith(("product.toml", "policy.toml", ".pyc"))]


def test_an_unknown_name_in_a_template_is_an_error_with_its_place() -> None:
    files = Files.of({"deb/control.j2": "a\n{{ nmae }}\n"})
    with pytest.raises(ConfigError, match=r"here: deb/control\.j2.*nmae"):
        render_files(files, {"name": "x"}, library=files, where="here")


def test_every_packaging_file_is_installed_once() -> None:
    """Every file that is there is in a list, and no format has a target twice."""
    text = text_of(context().packaging, "Makefile")
    found = dict(re.findall(r"^define (LIST\w*)\n(.*?)^endef", text, re.DOTALL | re.MULTILINE))
    assert set(found) == {"LIST", "LIST_deb", "LIST_rpm", "LIST_tar"}
    for name, lines in found.items():
        both = f"{found['LIST']}{lines if name != 'LIST' else ''}".splitlines()
        targets = [line.split()[2] for line in both if line and not line.endswith("/")]
        assert sorted(targets) == sorted(set(targets)), name
    rows = [line.split() for line in "".join(found.values()).splitlines() if line]
    patterns = [source for mode, source, _ in rows if mode != "link"]
    for path, _ in context().packaging.entries:
        folder = path.split("/")[0]
        if folder not in {"deb", "maintainer", "rpm", "selinux", "Makefile", "release.j2"}:
            by = {p for p in patterns if p.count("/") == path.count("/") and PurePosixPath(path).match(p)}
            assert len(by) == 1, f"{path} is installed by {by}"


def test_a_missing_makefile_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no Makefile"):
        load_packaging(tmp_path / "example", product(files='"."'))


def test_only_an_approved_binary_is_laid_out_and_the_modes_are_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("files/deb", "binary"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "files" / "deb" / "rules").write_text("x")
    (tmp_path / "files" / "deb" / "rules").chmod(0o700)
    (tmp_path / "binary" / "weed-1").write_bytes(b"program")
    (tmp_path / "binary" / "weed-1").chmod(0o600)
    approval = tmp_path / "approval.json"
    packaged = package.PackagedBinary("weed-1", approval, program="weed", folder=tmp_path / "binary")
    document.write(approval, Approval((Approved("weed-1", "0" * 64),)))
    with pytest.raises(common.Problem, match="did not approve this weed-1"):
        package.lay_out(tmp_path / "files", tmp_path / "refused", packaged)
    digest = common.sha256_of(tmp_path / "binary" / "weed-1")
    document.write(approval, Approval((Approved("weed-1", digest),)))
    package.lay_out(tmp_path / "files", tmp_path / "out", packaged)
    found = {p.relative_to(tmp_path / "out").as_posix(): p.stat() for p in (tmp_path / "out").rglob("*")}
    assert {name: oct(status.st_mode & 0o777) for name, status in found.items()} == {
        "deb": "0o755", "deb/rules": "0o755", "weed": "0o755",
    }  # fmt: skip
    assert {status.st_mtime for status in found.values()} == {1_700_000_000.0}


def test_a_packaging_file_never_hides_the_binary(tmp_path: Path) -> None:
    (tmp_path / "weed").write_text("mine")
    with pytest.raises(common.Problem, match="have a weed of their own"):
        package.place(tmp_path / "other", tmp_path / "weed", 0o755)


def test_another_package_than_the_promised_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(common.Problem, match=r"a\.deb was expected, and this was made: b\.deb"):
        package.deliver([tmp_path / "b.deb"], tmp_path / "a.deb")


def test_exceptions_of_rpmlint_are_the_same_before_version_2(tmp_path: Path) -> None:
    import tomllib

    toml = PRODUCTS / "seaweedfs" / "rpm" / "rpmlint.toml"
    copy = tmp_path / "rpmlint.toml"
    copy.write_text(toml.read_text())
    for version in ("rpmlint 2.4.0", "2.7.0\n", "2.10.0"):
        assert rpm.configuration(copy, rpm.release_of(version)) == ["--strict", "--config", str(copy)]
    old = rpm.release_of("rpmlint version 1.11 Copyright (C) 1999-2007 Frederic Lepied, Mandriva")
    assert rpm.configuration(copy, old) == ["--file", str(tmp_path / "rpmlint.config")]
    # As /usr/bin/rpmlint of 1.x reads it: only this import makes these functions known.
    first, *rest = (tmp_path / "rpmlint.config").read_text().splitlines()
    assert first == "from Config import *"
    found: list[str] = []
    options: dict[str, str] = {}
    exec("\n".join(rest), {"addFilter": found.append, "setOption": options.__setitem__})
    document = tomllib.loads(toml.read_text())
    assert found == document.pop("Filters")
    assert options == document


def test_an_rpmlint_that_says_nothing_of_its_release_is_an_error() -> None:
    with pytest.raises(common.Problem, match="no output"):
        rpm.release_of("")


LINTIAN = json.loads((Path(__file__).parents[1] / "data" / "lintian.json").read_text())
"""What lintian said of the example's package without overrides: one finding of each kind, by release."""


def overrides() -> list[tuple[str, str]]:
    """Return (tag, pattern) of the overrides."""
    text = (PRODUCTS / "seaweedfs" / "deb" / "lintian-overrides").read_text()
    pairs = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return [(tag, pattern or "*") for tag, _, pattern in pairs]


@pytest.mark.parametrize("release", LINTIAN)
def test_overrides_match_what_every_lintian_says(release: str) -> None:
    """Every finding has its override, and every override its finding: another one is an error, too."""
    exceptions = (PRODUCTS / "seaweedfs" / "deb" / "lintian-exceptions").read_text()
    unused = set(overrides())
    found = deb.findings("\n".join(LINTIAN[release]), exceptions)
    for line in found:
        tag, _, rest = line.split(": ", 2)[2].partition(" ")
        matching = {(name, pattern) for name, pattern in overrides() if name == tag and fnmatchcase(rest, pattern)}
        assert matching, f"{release}: {line}"
        unused -= matching
    assert not unused, release
    assert len(found) >= len(overrides())


def test_only_what_lintian_calls_a_finding_is_one() -> None:
    output = "N: example: masked\nW: example: one [a]\nI: example: two\nE: example source: three x\nO: example: four\n"
    assert deb.findings(output, "# one is fine\n two \n") == ["W: example: one [a]", "E: example source: three x"]


def key(algorithm: str, created: int, kind: str = "sec") -> list[str]:
    return [kind, "u", "4096", algorithm, "0" * 16, str(created), "", "", "", "", "", "sc", "", ""]


def test_a_signature_is_as_old_as_the_commit_but_never_older_than_its_key() -> None:
    assert rpm_sign.key_time([key("1", 100)], 5000) == 5000
    assert rpm_sign.key_time([key("1", 100), key("1", 9000, "ssb")], 5000) == 9000


@pytest.mark.parametrize("keys", [[key("22", 1)], [key("1", 1), key("22", 2, "ssb")]], ids=["primary", "subkey"])
def test_an_rpm_is_not_signed_by_a_key_that_old_hosts_cannot_check(keys: list[list[str]]) -> None:
    with pytest.raises(common.Problem, match="RSA keys only"):
        rpm_sign.key_time(keys, 1)


def step(title: str) -> Step:
    return next(step for step in steps_of(made().tree) if step.title == title)


def test_a_package_is_made_without_network_or_secret_at_the_time_of_the_commit() -> None:
    for title in ("deb ubuntu22.04 linux-arm64 fips", "rpm ol8 linux-amd64 standard", "rpm ol9 selinux"):
        assert (step(title).network, step(title).secrets, step(title).epoch) == (False, (), 1_700_000_000)


def test_a_change_in_one_unit_file_makes_new_packages_and_no_new_binary() -> None:
    before, files = titles(made()), dict(context().packaging.entries)
    unit = files["systemd/weed-s3@.service"]
    files["systemd/weed-s3@.service"] = replace(unit, content=unit.content + b"# changed\n")
    after = titles(made(replace(context(), packaging=Files.of(files))))
    made_of_it = (*PACKAGING, "archive ", "contents of ", "sbom of ")
    packagers = {title for title in after if title.startswith(made_of_it) and not title.endswith(" selinux")}
    assert len(packagers) == 4 + 4 + 3 * 12
    downstream = {"exposure", "index and checksums", "sign rpms", "sign"}
    changed = {title for title, step in after.items() if step.digest != before[title].digest}
    assert packagers | {"exposure"} <= changed <= packagers | downstream
    for kind in ("build ", "prove ", "sbom linux", "syft ", "grype ", "trivy ", "gate"):
        assert [title for title in after if title.startswith(kind)], kind


GUIDE = (PRODUCTS / "seaweedfs" / "doc" / "operator-guide.md").read_text()
COMMANDS = re.findall(r"\b((?:apt|dnf) (?:install|upgrade|downgrade|swap)\b[^`#\n]*\./[^`#\n]*)", GUIDE)


def test_the_guide_says_how_packages_are_installed_upgraded_and_downgraded_in_both_formats() -> None:
    assert {tuple(command.split()[:2]) for command in COMMANDS} >= {
        ("apt", "install"), ("dnf", "install"), ("dnf", "upgrade"), ("dnf", "downgrade"),
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_names_one_package_each_and_rpms_with_their_module(command: str) -> None:
    """In the folder of a release, with everything for every distribution and architecture."""
    names = [word.removeprefix("./") for word in command.split() if word.startswith("./")]
    version = re.search(r"\d\.\d+", names[0])
    assert version is not None
    chosen = load_product(PRODUCTS / "seaweedfs")
    given = load_packaging(PRODUCTS / "seaweedfs", chosen)
    there = packages(replace(context(), product=chosen, packaging=given, version=parse_tag(version[0])))
    for name in names:
        assert len([path for path in there if fnmatchcase(path, name)]) == 1, name
    if command.startswith("dnf"):
        assert [there[name].target for name in names] == ["linux/amd64", ""]
        assert names[1] == re.sub(
            r"^seaweedfs(-fips)?-(.*)\.x86_64\.rpm$", r"seaweedfs-selinux-\2.noarch.rpm", names[0]
        )
