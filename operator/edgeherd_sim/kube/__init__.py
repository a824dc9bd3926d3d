"""A Kubernetes API simulator: in memory, on loopback, for the demo and the tests. It is never a cluster."""
