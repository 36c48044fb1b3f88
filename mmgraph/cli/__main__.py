"""``python -m mmgraph.cli``: the command as a module, which ``torchrun -m`` starts in several processes."""

import sys

from mmgraph.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
