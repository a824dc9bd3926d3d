"""What a reconcile does: the list of steps in `device.py`, each in `steps/`."""
