"""What bubblewrap is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine.local.sandbox import Bind, Sandbox, resolve, root_arguments
from pipeline.errors import ImageError

POINTS = ("in", "out", "work", "run", "tmp", "var/tmp", "proc", "dev", "usr/lib", "opt", "etc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in POINTS:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "etc/resolv.conf").symlink_to("/run/systemd/resolv.conf")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def pairs(arguments: list[str], option: str) -> list[tuple[str, str]]:
    return [(arguments[i + 1], arguments[i + 2]) for i, word in enumerate(arguments) if word == option]


def test_links_are_followed_inside_of_the_root(root: Path) -> None:
    assert resolve(root, "/lib/x") == "/usr/lib/x"
    assert resolve(root, "/etc/resolv.conf") == "/run/systemd/resolv.conf"
    (root / "up").symlink_to("../../../usr")
    assert resolve(root, "/up/lib") == "/usr/lib"
    with pytest.raises(ImageError, match="form a loop"):
        resolve(root, "/loop/x")


def test_a_root_with_all_mount_points_is_one_mount(root: Path) -> None:
    assert root_arguments(root, ["/in", "/usr/lib", "/run/anything/below"]) == ["--ro-bind", str(root), "/"]


def test_only_the_way_to_a_missing_mount_point_is_opened(root: Path) -> None:
    (root / "opt").chmod(0o711)
    arguments = root_arguments(root, ["/opt/tool/bin", "/in"])
    assert ("0711", "--dir") in pairs(arguments, "--perms")
    assert (f"{root}/usr", "/usr") in pairs(arguments, "--ro-bind")
    assert ("usr/lib", "/lib") in pairs(arguments, "--symlink")
    assert not any(target.startswith("/usr/") for _, target in pairs(arguments, "--ro-bind"))


def test_a_mount_point_below_a_file_is_refused(root: Path) -> None:
    (root / "opt/file").touch()
    with pytest.raises(ImageError, match="/opt/file in"):
        root_arguments(root, ["/opt/file/below"])


def test_network_terminal_and_memory_are_choices(root: Path) -> None:
    sandbox = Sandbox(root=root, out=Path("/o"), scratch=Path("/s"))
    arguments = sandbox.arguments(("true",), 9)
    assert "--unshare-net" in arguments
    assert "--new-session" in arguments
    assert ("/s/var-tmp", "/var/tmp") in pairs(arguments, "--bind")
    assert arguments[-2:] == ["--", "true"]
    free = Sandbox(root=root, out=Path("/o"), network=True, terminal=True, secrets=(("key", 7),))
    arguments = free.arguments(("true",), 9)
    assert "--unshare-net" not in arguments
    assert "--new-session" not in arguments
    assert ("7", "/run/secrets/key") in pairs(arguments, "--file")
    assert "/work" in [arguments[i + 1] for i, word in enumerate(arguments) if word == "--tmpfs"]


def test_a_mount_inside_of_another_comes_after_it(root: Path) -> None:
    inner = Bind(source=Path("/b"), mount="/opt/tool/cache", writable=True)
    outer = Bind(source=Path("/a"), mount="/opt/tool")
    arguments = Sandbox(root=root, out=Path("/o"), binds=(inner, outer)).arguments(("true",), 9)
    assert arguments.index("/opt/tool") < arguments.index("/opt/tool/cache")
