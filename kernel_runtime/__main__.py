"""``python -I -S kernel_runtime/__main__.py VERB``: runc's verbs, and the launcher.

Started by path and isolated (``-I -S``), so that nothing of the user's site-packages is imported; the folder above is
put on ``sys.path`` here.
"""

from __future__ import annotations

import os
import sys

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    from kernel_runtime.commands import main

    sys.exit(main(sys.argv[1:]))
