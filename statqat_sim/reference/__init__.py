"""The references for all tests: an exact oracle that reads only specs, and the interpreter of plans."""
