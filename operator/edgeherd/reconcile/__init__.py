"""The work itself: one pass over one EdgeDevice, link by link."""
