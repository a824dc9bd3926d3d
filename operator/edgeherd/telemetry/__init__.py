"""What the operator tells about itself: logs, metrics, probes. Nothing below the wiring knows of it."""
