"""A Python in whose path this folder is cannot import uamqp, as on machines for which there is none."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Refusal:
    """Comes before all other finders."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Nothing is found here; one name is found nowhere."""
        del path, target
        if name.partition(".")[0] == "uamqp":
            message = "uamqp is refused"
            raise ModuleNotFoundError(message, name=name)
        return None


sys.meta_path.insert(0, _Refusal())  # type: ignore[arg-type] # a finder need not be of that class
