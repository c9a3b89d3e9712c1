"""Hardware number formats from one YAML file."""
