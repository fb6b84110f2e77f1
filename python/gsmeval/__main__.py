"""python -m gsmeval ARGS is the program gsmeval."""

from gsmeval._program import main

main()
