"""What decides when a pass runs: kopf's watch, the work queue, the workers."""
