"""Facts, errors and pictures, for people and for JSON."""
