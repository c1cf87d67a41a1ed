"""What each packaging world calls a target."""

from __future__ import annotations

from pipeline.model.target import TARGETS


def test_names_of_targets() -> None:
    names = {name: (t.deb_arch, t.rpm_arch, t.systemd_arch) for name, t in TARGETS.items()}
    assert names == {"linux/amd64": ("amd64", "x86_64", "x86-64"), "linux/arm64": ("arm64", "aarch64", "arm64")}
    assert all(name == str(target) for name, target in TARGETS.items())
