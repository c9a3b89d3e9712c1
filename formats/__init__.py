"""Number formats as data: one YAML file per format, its stem the format's name."""
