def measure() -> None:
    """x."""
