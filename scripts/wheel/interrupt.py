"""Starts `gsmeval run ARGS`, interrupts it once a few samples are there, and expects that it ends in good order.

interrupt.py ARGS    (scripts/wheel_check.sh, scripts/aarch64.sh and test/container.sh call it)
"""

import json
import signal
import subprocess
import sys

# A shell starts what it runs in the background with SIGINT ignored, and what it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
with subprocess.Popen(["gsmeval", "run", *sys.argv[1:], "--progress=json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
    assert process.stderr is not None
    sent = False
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("done", 0) >= 2 and not sent:
            process.send_signal(signal.SIGINT)
            sent = True
if process.returncode != 130:
    sys.exit(f"it ended with {process.returncode}, not with 130")
