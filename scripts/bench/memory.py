"""How fast this machine reads memory: a JSON list of GB/s, one for each time that torch sums 2 GiB, which no cache holds.

    memory.py THREADS ROUNDS

A process of its own: what is started by a process as large as this one counts its memory as its own peak.
"""

import json
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
x = torch.ones(1 << 29)
speeds = []
for _ in range(int(sys.argv[2])):
    begin = time.perf_counter()
    x.sum()
    speeds.append(x.nbytes / (time.perf_counter() - begin) / 1e9)
print(json.dumps(speeds))
