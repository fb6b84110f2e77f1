"""Executes a notebook in a folder of its own and writes it with its outputs; small where QUESTIONS is given.

    notebook.py NOTEBOOK FOLDER [QUESTIONS]    (a Python with nbclient and gsmeval; scripts/wheel_check.sh calls it)
"""

import pathlib
import re
import sys

import nbclient
import nbformat


def main() -> None:
    source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    notebook = nbformat.read(source, as_version=4)
    if len(sys.argv) > 3:
        (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
        cell.source, n = re.subn(r"(POSITIONS, DRAWS, QUESTIONS = ).*", rf"\g<1>20, 2, {int(sys.argv[3])}", cell.source)
        assert n == 1
    folder.mkdir(parents=True, exist_ok=True)
    nbclient.NotebookClient(notebook, timeout=3000, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.write(notebook, folder / source.name)
    kinds = [kind for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs for kind in output.get("data", {})]
    if kinds.count("image/png") != 5 or kinds.count("text/html") < 5:
        sys.exit(f"notebook: it shows {kinds.count('image/png')} pictures and {kinds.count('text/html')} tables")


main()
