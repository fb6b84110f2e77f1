"""Shows how far a run is: a line that changes in a notebook or a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    def __init__(self) -> None:
        self._handle: Any = None
        self._next = 0.0
        self._wrote = False

    def __enter__(self) -> Progress:
        shell = sys.modules.get("IPython")
        if shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell":
            from IPython.display import display

            self._handle = display({"text/plain": "starting"}, raw=True, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._wrote and sys.stderr.isatty():
            sys.stderr.write("\n")

    def show(self, event: dict[str, Any]) -> None:
        """Shows an event of ``--progress json``."""
        if event["event"] == "message":
            if self._handle is not None and event["level"] == "info":
                self._handle.update({"text/plain": event["text"]}, raw=True)  # a notebook keeps warnings alone
            elif event["level"] != "debug":
                self._write(event["text"], last=True)
            return
        text = line(event)
        if self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)
        else:
            self._write(text, last=event["event"] == "end")

    def _write(self, text: str, last: bool) -> None:
        if self._handle is None and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + text + ("\n" if last else ""))
            self._wrote = not last
        elif last or time.monotonic() >= self._next:
            print(text, file=sys.stderr)
            if not last:  # a message does not put off the first news of the samples
                self._next = time.monotonic() + 30


def line(event: dict[str, Any]) -> str:
    """One line on a progress event."""
    text = f"{event['run']}: {event['done']} of {event['total']} samples"
    if event["n"]:
        text += f", {100 * event['correct'] / event['n']:.1f} % of the new ones right"
    if event["tokens_per_s"]:
        text += f", {event['tokens_per_s']:.0f} tokens/s"
    if event["eta_s"]:
        minutes, seconds = divmod(round(event["eta_s"]), 60)
        text += f", {minutes}:{seconds:02d} left"
    return text
