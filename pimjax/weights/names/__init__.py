"""Released names and layouts of each network."""
