"""Carriers: one file each that verifies, parses and sends; values in, values out."""
