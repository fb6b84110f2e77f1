"""Finds the program and the libtorch that it runs with, and starts it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import NoReturn

TORCH = "2.11.0"
"""The one libtorch that the program is built with; the wheel depends on it."""


class ProgramError(RuntimeError):
    """The program failed. The message is what it said; code is its exit code (2: the config or the arguments; 130: interrupted)."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def program() -> pathlib.Path:
    """The program's file."""
    path = pathlib.Path(__file__).parent / "bin" / "gsmeval"
    if not path.exists():
        raise ProgramError(f"there is no {path}; install the wheel of gsmeval")
    return path


def environment() -> dict[str, str]:
    """The program's environment: this one, and the way to a libtorch that is not beside the package.

    Raises ProgramError where torch lacks or is another version, since the dynamic loader's own words help nobody.
    """
    install = f"{os.path.basename(sys.executable)} -m pip install torch=={TORCH}"
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise ProgramError(f"gsmeval needs torch {TORCH}, and {sys.executable} has none: {install}") from None
    if version.split("+")[0] != TORCH:
        raise ProgramError(f"gsmeval needs torch {TORCH}, and {sys.executable} has {version}: {install}")
    env = dict(os.environ)
    found = importlib.util.find_spec("torch")  # imports nothing
    if found is None or not found.submodule_search_locations:
        raise ProgramError(f"gsmeval finds no folder of torch {version} in {sys.executable}: {install}")
    folder = pathlib.Path(found.submodule_search_locations[0])
    if folder.parent != pathlib.Path(__file__).parent.parent:
        others = env.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = str(folder / "lib") + (":" + others if others else "")
    return env


def command(*args: str | os.PathLike[str]) -> str:
    """Runs ``gsmeval ARGS`` and returns what it printed. Its errors are ProgramError, with its words."""
    done = subprocess.run([program(), *args], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise ProgramError(reason(done.stderr), done.returncode)
    return done.stdout


def reason(stderr: str) -> str:
    """The line with which the program failed, and what belongs to it."""
    _, marked, last = ("\n" + stderr).rpartition("\ngsmeval: ")
    return (last if marked else stderr).strip() or "gsmeval failed and said nothing"


def main() -> NoReturn:
    """The command ``gsmeval``: becomes the program."""
    try:
        path, env = program(), environment()
    except ProgramError as problem:
        sys.exit(f"gsmeval: {problem}")
    os.execve(path, ["gsmeval", *sys.argv[1:]], env)
