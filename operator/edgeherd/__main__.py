"""`python -m edgeherd` runs the operator; with arguments it is the `edgeherd` command."""

import sys

from edgeherd.cli import main, run

if __name__ == "__main__":  # worker processes import this module too, under another name
    if len(sys.argv) > 1:
        main(prog_name="python -m edgeherd")
    else:
        run()
