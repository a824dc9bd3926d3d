"""placeholder"""

from edgeherd.device.errand import Errand
from edgeherd.device.port import Change, Initialization, Look


def observe(look: Look) -> Errand:
    raise NotImplementedError


def apply(change: Change) -> Errand:
    raise NotImplementedError


def check() -> Errand:
    raise NotImplementedError


def initialize(initialization: Initialization) -> Errand:
    raise NotImplementedError
