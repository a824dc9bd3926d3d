"""Stand-ins for what is not at hand: an IoT Hub, devices, a Kubernetes API."""
