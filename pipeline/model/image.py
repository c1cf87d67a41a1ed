"""Images: the root file systems that steps run in."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.model.identity import Identified, identify
from pipeline.model.tree import Tree, check_path

DEFAULT_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True, eq=False)
class Base(Identified):
    """A root file system as an engine can get hold of it, and what identifies it.

    `content` is the digest of an OCI manifest, of an OCI archive's manifest, or of a bootstrapped root file
    system's content listing; an empty string while it is not known (a root that this machine has yet to build).
    `reference` is the OCI reference to pull, empty for a root that was bootstrapped. `resolved` tells that images.lock
    does not pin it: the registry named its digest in this run.
    `packages` are still to be added with `manager` (`apt` or `dnf`) after pulling; a bootstrapped root has them.
    A root that was made from the packages of a distribution says which in `made_from`, and `installed` lists them with
    their versions. What a root stands in for or is made from is not part of its identity.
    """

    name: str
    content: str
    reference: str = ""
    manager: str = ""
    packages: tuple[str, ...] = ()
    stands_in_for: str = ""
    resolved: bool = False
    made_from: str = ""
    installed: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        fields = [self.content or f"unknown:{self.name}", self.manager, sorted(self.packages)]
        object.__setattr__(self, "digest", identify("base/1", fields))

    @property
    def known(self) -> bool:
        """Whether the content is known, so that the digests of steps in it mean something."""
        return bool(self.content)


@dataclass(frozen=True, slots=True, eq=False)
class Image(Identified):
    """A base, with trees laid over it read-only at absolute paths (a toolchain, a scanner), and a PATH."""

    name: str
    base: Base = field(repr=False)
    layers: tuple[tuple[str, Tree], ...] = field(default=(), repr=False)
    path: tuple[str, ...] = DEFAULT_PATH
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        for mount, _ in self.layers:
            if not mount.startswith("/"):
                raise ValueError(f"a layer is mounted at an absolute path, not at {mount!r}")
            check_path(mount[1:])
        layers = [[mount, tree.digest] for mount, tree in self.layers]
        object.__setattr__(self, "digest", identify("image/1", [self.base.digest, layers, list(self.path)]))
