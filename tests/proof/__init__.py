"""`make proof`: runs the long form of the tests that show the promises, and writes docs/promises.md."""
