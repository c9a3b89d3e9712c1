"""Side-by-side measurements: how to run them and what they mean stands in `README.md`."""
