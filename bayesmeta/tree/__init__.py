"""The results tree: its part that holds the specification, how it is built, read and kept in files."""
