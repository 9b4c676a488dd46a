"""The record store over SQL."""
