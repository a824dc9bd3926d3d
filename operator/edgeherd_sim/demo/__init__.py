"""The whole product on one machine: the stand-ins, the operator, and a walk through what it does."""
