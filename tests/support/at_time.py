"""Start the real command with a clock of its own, which always shows the same moment.

    python tests/support/at_time.py 2026-04-09T14:05:00+01:00 list -l

Only dates for people depend on that clock. A file of its own, as it must not import the tests.
"""

from __future__ import annotations

import sys
from datetime import datetime

from pop3fetch.cli import main
from pop3fetch.cli.screen.console import Console

if __name__ == "__main__":
    Console.clock = staticmethod(datetime.fromisoformat(sys.argv[1]).timestamp)
    sys.argv[1:] = sys.argv[2:]
    main()
