"""Measure how a noisy language model reasons: the gsmeval program from Python.

    run = gsmeval.run("configs/first_light.yaml")
    run.table

Everything is computed by the program that this package brings; the frames are read from what it writes.
"""

from gsmeval._program import ProgramError, command, program
from gsmeval._run import Run, load, run

__all__ = ["ProgramError", "Run", "command", "load", "program", "run"]
