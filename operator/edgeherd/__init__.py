"""edgeherd: Azure IoT Edge devices from one Kubernetes manifest."""

__version__ = "0.1.0"
