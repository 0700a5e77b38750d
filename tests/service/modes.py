"""Processes that file modes bind, also where the tests run as root."""

import os
import subprocess
import sys

# Root too obeys them once he is without CAP_DAC_OVERRIDE (1), which PR_CAPBSET_DROP
# (24) takes from the next program.
OBEY_MODES = """
import ctypes, os, sys

ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and return how it ended."""
    as_root = ["-c", OBEY_MODES] if os.geteuid() == 0 else []
    return subprocess.run(
        [sys.executable, *as_root, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
