"""What a program in a step may write: `/run`, `/tmp`, `/var/tmp`, its work folder, `/out`, and nothing else."""

from __future__ import annotations

import pytest

from pipeline.model.step import PRIVATE, Caching
from pipeline.model.tree import Files
from tests.contract.adapters import Adapter
from tests.contract.conftest import MakeStep

WRITABLE = (*sorted(PRIVATE), "/out")
READ_ONLY = (
    "/",
    "/bin",
    "/dev",
    "/dev/shm",
    "/etc",
    "/in",
    "/in/data",
    "/proc/sys/kernel",
    "/root",
    "/usr/bin",
    "/var",
)


def fill(place: str) -> str:
    """Return a script that makes a folder, a file and a link at `place`, changes them, and takes them away."""
    return f"""
    mkdir {place}/made; echo one > {place}/made/file; ln -s file {place}/made/link; echo two >> {place}/made/link
    chmod 700 {place}/made; mv {place}/made {place}/moved; cat {place}/moved/file > /tmp/said; rm -r {place}/moved
    cp /tmp/said /out/said
    """


@pytest.mark.parametrize("place", WRITABLE)
def test_a_step_may_write(engine: Adapter, step: MakeStep, place: str) -> None:
    assert (engine.run(step(fill(place)).out) / "said").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("place", WRITABLE)
def test_a_step_with_network_may_write(engine: Adapter, step: MakeStep, place: str) -> None:
    assert (engine.run(step(fill(place), network=True).out) / "said").read_text() == "one\ntwo\n"


def test_a_step_may_write_what_other_steps_read_as_secrets(engine: Adapter, step: MakeStep) -> None:
    script = "mkdir /run/systemd; echo x > /run/systemd/file; cat /run/secrets/key /run/systemd/file > /dev/null"
    again = step(f"{script}; ls -A /run > /out/ls", secrets=("key",), caching=Caching.NEVER)
    assert (engine.run(again.out, secrets={"key": b"value"}) / "ls").read_text().split() == ["secrets", "systemd"]


@pytest.mark.parametrize("place", READ_ONLY)
def test_a_step_may_not_write(engine: Adapter, step: MakeStep, place: str) -> None:
    script = f"""
    for try in 'mkdir {place}/made' 'echo x > {place}/file' 'ln -s x {place}/link' 'chmod 700 {place}'; do
      if (eval "$try") 2> /dev/null; then echo "$try" >> /out/worked; fi
    done
    test -d {place}; echo tried > /out/tried
    """
    out = engine.run(step(script, inputs=(("data", Files.of({"file": "text"})),)).out)
    assert (out / "tried").read_text() == "tried\n"
    assert not (out / "worked").exists(), (out / "worked").read_text()


@pytest.mark.parametrize("file", ["/etc/hosts", "/in/data/file", "/usr/bin/cat"])
def test_a_step_may_not_change_a_file_of(engine: Adapter, step: MakeStep, file: str) -> None:
    script = f"""
    for try in 'echo x >> {file}' 'rm {file}' 'mv {file} /tmp/' 'chmod 777 {file}' 'touch {file}'; do
      if (eval "$try") 2> /dev/null; then echo "$try" >> /out/worked; fi
    done
    test -e {file}; echo tried > /out/tried
    """
    out = engine.run(step(script, inputs=(("data", Files.of({"file": "text"})),)).out)
    assert (out / "tried").read_text() == "tried\n"
    assert not (out / "worked").exists(), (out / "worked").read_text()


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("caching", Caching)
def test_devices_work(engine: Adapter, step: MakeStep, caching: Caching, network: bool) -> None:
    script = "echo x > /dev/null; head -c 4 /dev/zero > /out/zero; head -c 4 /dev/urandom > /out/random"
    out = engine.run(step(script, caching=caching, network=network).out)
    assert (out / "zero").read_bytes() == bytes(4)
    assert len((out / "random").read_bytes()) == 4


@pytest.mark.parametrize("caching", Caching)
def test_private_places_are_empty(engine: Adapter, step: MakeStep, caching: Caching) -> None:
    script = "; ".join(f"ls -A {place} >> /out/found; echo left > {place}/mark" for place in PRIVATE)
    first = engine.run(step(script, caching=caching).out)
    second = engine.run(step(f"{script}; true", caching=caching).out)
    assert (first / "found").read_text() == (second / "found").read_text() == ""


def test_what_a_step_with_network_writes_is_forgotten(engine: Adapter, step: MakeStep) -> None:
    """On Dagger such a step can write to its image too (docs/dagger.md)."""
    places = (*PRIVATE, "/etc", "/root", "/usr", "/var")
    mark = "; ".join(f"(echo left > {place}/mark) 2> /dev/null || true" for place in places)
    engine.run(step(mark, network=True).out)
    look = "; ".join(f"ls -A {place} >> /out/found" for place in places)
    assert "mark" not in (engine.run(step(look, network=True).out) / "found").read_text().split()
