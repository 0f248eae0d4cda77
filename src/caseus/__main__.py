"""`python -m caseus`."""

from caseus.cli import main

main()
