"""The demo workload, as a process and as a container on each engine."""
