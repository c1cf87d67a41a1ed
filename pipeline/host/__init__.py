"""The one door to this machine: processes, files, locks, folders."""
