"""What the rolling restart reads off the leader's /dir/status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from weedops import cluster
from weedops.cluster import Cluster
from weedops.settings import read_settings

from tests.unit.weed_host import Host

SECOND = {"Url": "127.0.0.1:8081", "PublicUrl": "127.0.0.1:8081", "Volumes": 7, "EcShards": 0, "Max": 8}
OTHER = {"Url": "10.20.0.12:8080", "PublicUrl": "10.20.0.12:8080", "Volumes": 9, "EcShards": 0, "Max": 8}


@pytest.mark.parametrize(
    ("nodes", "room"),
    [
        ([SECOND, OTHER], 1),
        ([{**SECOND, "Volumes": 8}, OTHER], 0),
        ([{"Url": "127.0.0.1:8081"}], None),
        ([], None),
    ],
)
def test_room_is_that_of_the_other_volume_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, Any]], room: int | None
) -> None:
    """In the form of SeaweedFS 4.44, weed/topology/data_node.go, DataNodeInfo."""
    host = Host(tmp_path)
    first = {"Url": "127.0.0.1:8080", "Volumes": 0, "Max": 100}
    racks = [{"Id": "r", "DataNodes": [first, *nodes]}, {"Id": "empty", "DataNodes": None}]
    status = {"Topology": {"DataCenters": [{"Id": "c", "Racks": racks}]}}
    monkeypatch.setattr(cluster, "_json", lambda _target, _path: status)
    known = Cluster(read_settings(host.paths), host.installed, host.paths)
    assert known.room(read_settings(host.paths).at("volume", 1)) == room
