"""JPEG's standard: tables, scans, the cosine transform, traces of double compression."""
