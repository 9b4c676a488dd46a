"""Stand-ins for vendors' APIs: HTTP servers that speak what the vendors document. `python -m examples.vendors`."""
