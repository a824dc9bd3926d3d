"""The device as the operator uses it: SSH, scripts, facts."""
