"""Root file systems on this machine: how they are made, unpacked and kept."""
