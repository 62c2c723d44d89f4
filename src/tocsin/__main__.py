"""``python -m tocsin``: the command line without its script."""

import sys

from tocsin.cli import main

sys.exit(main())
