"""The SELinux module: it compiles, loads into every policy that it is meant for, and grants nothing it should not."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.integration.weed_host import PRODUCT

DEVEL = Path("/usr/share/selinux/devel/Makefile")
TO_CIL = ("/usr/libexec/selinux/hll/pp", "/usr/lib/selinux/hll/pp")
COMMON = Path(__file__).resolve().parents[1] / "data/selinux-common.txt"

OWN = {"weed_var_lib_t", "weed_log_t", "weed_runtime_t", "weed_tmp_t", "self"}
SWITCHED = {"mnt_t", "nfs_t"}
"""Written to only where a boolean that is off by default says so."""

MADE_IN = {"tmp_t"}
"""Folders in which weed makes files, which get a type of its own."""

ADMINISTRATOR = """\
policy_module(storage_admin, 1.0)
gen_require(`role staff_r;')
type storage_admin_t;
domain_type(storage_admin_t)
weed_admin(storage_admin_t, staff_r)
weed_read_config(storage_admin_t)
weed_read_log(storage_admin_t)
weed_tcp_connect(storage_admin_t)
weed_domtrans(storage_admin_t)
"""

ALTERING = {"write", "create", "unlink", "rename", "setattr", "relabelfrom", "relabelto", "link", "mounton"}
FORBIDDEN = {
    "execmem",
    "execheap",
    "execstack",
    "execmod",
    "ptrace",
    "setcap",
    "dyntransition",
    "transition",
    "setexec",
}


@dataclass(frozen=True)
class Rule:
    """One allow rule of weed_t. `optional` and `switch` say under what condition it holds."""

    target: str
    kind: str
    permissions: frozenset[str]
    switch: str


@dataclass(frozen=True)
class Module:
    """The compiled module, taken apart."""

    package: Path
    cil: str
    rules: list[Rule]
    required: set[str]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Module:
    for tool in ("make", "m4", "checkmodule", "semodule_package"):
        require_tool(tool)
    if not DEVEL.exists():
        require_tool("policygentool")  # of the package that has the headers as well
    folder = tmp_path_factory.mktemp("selinux")
    for path in (PRODUCT / "selinux").iterdir():
        shutil.copy(path, folder)
    # 19 is the newest format that Oracle Linux 8 reads, as in weed-selinux.spec.
    argv = ["make", "-f", str(DEVEL), "CHECKMODULE=/usr/bin/checkmodule -c 19", "weed.pp"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    package = folder / "weed.pp"
    tool = next((path for path in TO_CIL if Path(path).exists()), "") or require_tool("semodule")
    cil = subprocess.run([tool, str(package)], capture_output=True, text=True, check=True).stdout
    return Module(package, cil, taken_apart(cil), hard_requirements(cil))


def taken_apart(cil: str) -> list[Rule]:
    """Return the allow rules of weed_t."""
    rules, switch = [], ""
    for line in cil.splitlines():
        if found := re.match(r"\(booleanif \((\w+)\)", line):
            switch = found[1]
        elif line == ")":
            switch = ""
        if found := re.match(r"\s*\(allow weed_t (\w+) \((\w+) \(([^)]*)\)\)\)", line):
            rules.append(Rule(found[1], found[2], frozenset(found[3].split()), switch))
    return rules


def hard_requirements(cil: str) -> set[str]:
    """Return what the module requires outside of its optional blocks."""
    found, depth, inside = set(), 0, False
    for line in cil.splitlines():
        inside = inside or line.startswith("(optional")
        if inside:
            depth += line.count("(") - line.count(")")
            inside = depth > 0
        elif required := re.match(r"\(typeattributeset cil_gen_require (\w+)\)", line):
            found.add(required[1])
    return found - {"system_r"}


def test_it_requires_only_what_every_policy_has(module: Module) -> None:
    common = {line for line in COMMON.read_text().splitlines() if line and not line.startswith("#")}
    assert module.required, "nothing was found, so nothing was compared"
    assert module.required - common == set()


def test_its_format_is_one_that_oracle_linux_8_reads(module: Module) -> None:
    file = require_tool("file")
    said = subprocess.run([file, "-b", str(module.package)], capture_output=True, text=True, check=True).stdout
    content = module.package.read_bytes()
    start = content.index(b"SE Linux Module") + len(b"SE Linux Module")
    # After the name come the kind of the policy (2: a module) and its version, as 32-bit numbers.
    kind, version = (int.from_bytes(content[start + 4 * n : start + 4 * n + 4], "little") for n in (0, 1))
    assert (kind, version) == (2, 19), said


def test_weed_has_no_capability_and_no_writable_code(module: Module) -> None:
    assert len(module.rules) > 100
    for rule in module.rules:
        assert rule.kind not in {"capability", "capability2", "cap_userns", "security", "system"}, rule
        if rule.kind == "process":
            assert not rule.permissions & FORBIDDEN, rule
        assert "execmod" not in rule.permissions, rule
    assert "unconfined" not in module.cil
    assert "typepermissive" not in module.cil


def test_what_weed_starts_is_no_shell_and_stays_in_its_domain(module: Module) -> None:
    started = {
        rule.target
        for rule in module.rules
        if rule.kind == "file" and rule.permissions & {"execute_no_trans", "execute"}
    }
    assert "bin_t" in started
    assert not {name for name in started if "shell" in name or name in {"exec_type", "file_type"}}
    moving = {"transition", "dyntransition", "setexec"}
    assert not [rule for rule in module.rules if rule.kind == "process" and rule.permissions & moving]
    assert not re.search(r"^\s*\(typetransition weed_t \w+ process ", module.cil, re.MULTILINE)


def test_weed_changes_nothing_but_its_own(module: Module) -> None:
    for rule in module.rules:
        if rule.kind in {"file", "dir", "lnk_file"} and rule.permissions & ALTERING and rule.target not in OWN:
            inherited = "open" not in rule.permissions
            switched = rule.target in SWITCHED and rule.switch in {"weed_data_in_mnt", "weed_use_nfs"}
            folder = rule.target in MADE_IN and not rule.permissions & (ALTERING - {"write"})
            assert inherited or switched or folder, rule


def test_logs_are_appended_to_and_never_rewritten(module: Module) -> None:
    granted = {
        name for rule in module.rules if (rule.target, rule.kind) == ("weed_log_t", "file") for name in rule.permissions
    }
    assert {"append", "create", "open"} <= granted
    assert not granted & {"write", "unlink", "rename", "read"}


def test_booleans_are_as_documented(module: Module) -> None:
    found = dict(re.findall(r"^\(boolean (\w+) (\w+)\)", module.cil, re.MULTILINE))
    assert found == {
        "weed_use_unreserved_ports": "true",
        "weed_connect_any": "false",
        "weed_data_in_mnt": "false",
        "weed_use_nfs": "false",
    }


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/opt/weed/weed", "weed_exec_t"),
        ("/opt/weed/libexec/weed-launch", "weed_exec_t"),
        ("/opt/weed/lib/weedops/launch.py", "lib_t"),
        ("/etc/weed/s3.json", "weed_etc_t"),
        ("/etc/default/weed/weed.conf", "weed_etc_t"),
        ("/var/lib/weed/volume-1/1.dat", "weed_var_lib_t"),
        ("/var/log/weed/s3-1.log", "weed_log_t"),
        ("/run/weed/filer-1/filer.sock", "weed_runtime_t"),
        ("/usr/lib/systemd/system/weed-s3@.service", "weed_unit_t"),
        ("/etc/systemd/system/weed-s3@.service.d/50-paths.conf", "weed_unit_t"),
        ("/etc/weedy", ""),
    ],
)
def test_files_get_their_labels(path: str, label: str) -> None:
    found = ""
    for line in (PRODUCT / "selinux/weed.fc").read_text().splitlines():
        fields = line.split()
        if fields and not line.startswith("#") and re.fullmatch(fields[0], path):
            found = fields[-1].split(":")[2].partition(",")[0]
    assert found == label


def test_the_interfaces_compile_for_an_administrator(module: Module, tmp_path: Path) -> None:
    for path in module.package.parent.glob("weed.*"):
        if path.suffix in {".te", ".if", ".fc"}:
            shutil.copy(path, tmp_path)
    (tmp_path / "storage_admin.te").write_text(ADMINISTRATOR)
    argv = ["make", "-f", str(DEVEL), "storage_admin.pp"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
