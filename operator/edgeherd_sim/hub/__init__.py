"""`edgeherd sim hub`: the registry of an IoT Hub on this machine, for clients that must not tell the difference.

`server.serve` is the Python door, `command.command` the command line; the rest is split by topic. `store`, `identities`,
`twindocs`, `manifests`, `query_language`, `query_terms`, `rules`, `sas`, `throttle` and `faults` know nothing of HTTP.
"""
