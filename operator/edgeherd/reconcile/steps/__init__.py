"""The steps of a reconcile, in the order of `reconcile.device`: each has one condition."""
