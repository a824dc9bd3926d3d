"""The IoT hub's registry as the operator uses it."""
