"""YAML text -> frozen, validated values. No array computations."""
