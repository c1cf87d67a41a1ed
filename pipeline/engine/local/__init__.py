"""The embedded engine: bubblewrap sandboxes over unpacked root file systems, and a store on this machine's disk."""

from pipeline.engine.local.engine import LocalEngine
from pipeline.engine.local.history import Reason
from pipeline.engine.local.prune import Usage
from pipeline.engine.local.store import Store
from pipeline.engine.network import NetworkSettings

__all__ = ["LocalEngine", "NetworkSettings", "Reason", "Store", "Usage"]
