"""Detectors to compare with, older than PIM or simpler."""
