"""Where plans run. Each backend is a package of its own behind an entry point; none holds a fact about a format."""
