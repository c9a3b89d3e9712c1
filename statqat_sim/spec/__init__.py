"""YAML text -> frozen, validated values. Nothing here computes with arrays."""
